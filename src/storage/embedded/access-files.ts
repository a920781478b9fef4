import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownAccount } from '../../util/account.ts';
import { DATABASE_USER } from './create-database.ts';
import type { Place } from './place.ts';

/**
 * Who may connect: the account that PostgreSQL runs as and the one that Claviger runs as, over the unix socket, where the
 * kernel says who is calling. Nobody else, no password. Written at each start, since the account may be another one.
 * True when something changed.
 */
export function writeAccessFiles({ account, databaseDir }: Place): boolean {
  const names = new Set([account.name, ...(ownAccount() === null ? [] : [ownAccount()!.name])]);
  const ident = [...names].map((name) => `claviger ${quoted(name)} ${DATABASE_USER}`);
  const changes = [
    replace(join(databaseDir, 'pg_hba.conf'), ['local all all peer map=claviger'], account),
    replace(join(databaseDir, 'pg_ident.conf'), ident, account),
  ];
  return changes.includes(true);
}

function replace(
  path: string,
  lines: readonly string[],
  owner: { readonly uid: number; readonly gid: number },
): boolean {
  const text = `${['# Written by Claviger at each start.', ...lines].join('\n')}\n`;
  if (readFileSync(path, 'utf8') === text) return false;
  writeFileSync(path, text);
  chmodSync(path, 0o600);
  if (process.getuid?.() !== owner.uid) chownSync(path, owner.uid, owner.gid);
  return true;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
