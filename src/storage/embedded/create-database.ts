import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { asAccount } from '../../util/account.ts';
import { OperatorError } from '../../util/operator-error.ts';
import type { Binaries } from './binaries.ts';
import type { Place } from './place.ts';

/** The only database role; it owns everything. */
export const DATABASE_USER = 'claviger';

/**
 * Creates the database directory: under another name first and then renamed, so that it is complete or not there at all.
 * What an interrupted attempt left is removed; the caller holds the lock of the data directory.
 */
export async function createDatabase(place: Place, binaries: Binaries): Promise<void> {
  const { account, databaseDir } = place;
  removePartial(databaseDir);
  const partial = `${databaseDir}.partial-${randomBytes(4).toString('hex')}`;
  mkdirSync(partial, { mode: 0o700 });
  if (process.getuid?.() !== account.uid) chownSync(partial, account.uid, account.gid);
  try {
    await run(binaries.initdb, initdbArguments(partial), { ...asAccount(account), env: binaries.env });
    renameSync(partial, databaseDir);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

function initdbArguments(directory: string): string[] {
  return [
    '-D',
    directory,
    '--username',
    DATABASE_USER,
    '--encoding=UTF8',
    // Sorts by bytes, the same on all systems, so an upgrade of the C library can not break an index.
    '--locale=C',
    '--auth-local=peer',
    '--auth-host=reject',
    '--no-instructions',
  ];
}

function removePartial(databaseDir: string): void {
  const parent = dirname(databaseDir);
  for (const name of readdirSync(parent)) {
    if (name.startsWith(`${basename(databaseDir)}.partial-`))
      rmSync(join(parent, name), { recursive: true, force: true });
  }
}

function run(program: string, args: readonly string[], options: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
    let problem = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      problem = (problem + text).slice(-PROBLEM_CHARS_MAX);
    });
    child.once('error', (error) => reject(new OperatorError(`The database could not be created: ${error.message}.`)));
    child.once('close', (code, signal) => {
      if (code === 0) return resolve();
      const reason = problem.trim().replaceAll('\n', ' ') || `initdb ended with ${signal ?? `code ${code}`}`;
      reject(
        new OperatorError(`The database could not be created: ${reason}. Set DATABASE_URL to use another PostgreSQL.`),
      );
    });
  });
}

/** The end of what initdb says is where the reason stands. */
const PROBLEM_CHARS_MAX = 2_000;
