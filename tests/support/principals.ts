import { createHash } from 'node:crypto';
import { accountKey } from '../../src/domain/account.ts';
import type { Change, Position } from '../../src/domain/change.ts';
import type { KeyDigest, Principal } from '../../src/domain/virtual-key.ts';
import type { PrincipalStore } from '../../src/gateway/live/principal-store.ts';
import { createLog, type Log } from '../../src/observe/log.ts';

/** What the tests of the live state make their cases of. */

export const INSTALLATION = '0193a5e0-0000-7000-8000-000000000001';
export const FLEET_KEY = Buffer.alloc(32, 7).toString('base64');

export function tokenOf(name: string | number): KeyDigest {
  return createHash('sha256').update(`sk-${name}`).digest('hex') as KeyDigest;
}

export function principalOf(name: string | number, fields: Partial<Principal> = {}): Principal {
  return {
    token: tokenOf(name),
    keyName: 'sk-...abcd',
    keyAlias: `alias of ${name} ä`,
    expiresAtMs: null,
    blocked: false,
    models: [],
    aliases: {},
    allowedRoutes: [],
    userId: null,
    teamId: null,
    organizationId: null,
    projectId: null,
    maxBudget: null,
    rpmLimit: null,
    tpmLimit: null,
    maxParallelRequests: null,
    tags: [],
    allowedRegions: [],
    fence: 'normal',
    ...fields,
  };
}

export function keyChange(rev: number, name: string | number, fields: Partial<Principal> = {}): Change {
  return { rev, kind: 'key', id: tokenOf(name), value: principalOf(name, fields) };
}

export function keyDeleted(rev: number, name: string | number): Change {
  return { rev, kind: 'key', id: tokenOf(name), value: null };
}

export function at(rev: number, epoch = 1): Position {
  return { installation: INSTALLATION, epoch, rev };
}

/** Everything that a store knows, in an order that does not depend on how it came to know it. */
export function stateOf(store: PrincipalStore) {
  if (store.position === null) return null;
  const contents = store.contents();
  const keys = Array.from(contents.keys(), ({ principal, spendNano }) => ({ principal, spendNano: String(spendNano) }));
  keys.sort((a, b) => a.principal.token.localeCompare(b.principal.token));
  return {
    position: contents.position,
    head: contents.head,
    keys,
    deleted: [...contents.deletedTokens()].sort(),
    settings: contents.settings,
    models: [...contents.models].sort((a, b) => a.id.localeCompare(b.id)),
    accounts: [...contents.accounts].sort((a, b) => accountKey(a.kind, a.id).localeCompare(accountKey(b.kind, b.id))),
    setHash: contents.setHash,
  };
}

export interface RecordingLog {
  readonly log: Log;
  readonly text: () => string;
}

export function recordingLog(): RecordingLog {
  let text = '';
  const log = createLog({
    level: 'debug',
    json: true,
    write: (lines) => {
      text += lines;
    },
  });
  return { log, text: () => text };
}
