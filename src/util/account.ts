import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';

/** An operating system account that a process can run as. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** The account of this process; null when its uid has no entry in the account database (a container with `--user 12345`). */
export function ownAccount(): Account | null {
  try {
    const { username, uid, gid } = userInfo();
    return { name: username, uid, gid };
  } catch {
    return null;
  }
}

/** The first of `names` that exists on this system. */
export function findAccount(names: readonly string[], passwdPath = '/etc/passwd'): Account | null {
  const accounts = readAccounts(passwdPath);
  for (const name of names) {
    const account = accounts.find((candidate) => candidate.name === name);
    if (account !== undefined) return account;
  }
  return null;
}

export function accountOfUid(uid: number, passwdPath = '/etc/passwd'): Account | null {
  return readAccounts(passwdPath).find((account) => account.uid === uid) ?? null;
}

/** Lines of the account file that are what they should be; comments, NIS markers and damage are passed over. */
export function parsePasswd(text: string): Account[] {
  const accounts: Account[] = [];
  for (const line of text.split('\n')) {
    const [name, , uid, gid, ...rest] = line.split(':');
    if (name === undefined || !NAME.test(name) || rest.length < 3) continue;
    if (!DIGITS.test(uid ?? '') || !DIGITS.test(gid ?? '')) continue;
    accounts.push({ name, uid: Number(uid), gid: Number(gid) });
  }
  return accounts;
}

/**
 * Whether a process of `account` can enter `directory` and, when asked, write to it. It is tried and not computed from mode
 * bits, because access lists, mount options and containers have a say as well.
 */
export function accountCanUse(account: Account, directory: string, access: 'enter' | 'write'): boolean {
  const script = access === 'write' ? 'cd -- "$1" && test -w .' : 'cd -- "$1"';
  const probe = spawnSync('/bin/sh', ['-c', script, 'sh', directory], {
    ...asAccount(account),
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    stdio: 'ignore',
    timeout: PROBE_TIMEOUT_MS,
  });
  return probe.status === 0;
}

/** A file system that hangs counts as one that can not be used. */
const PROBE_TIMEOUT_MS = 5_000;

/** Options for `spawn`; nothing when we are that account already, since only root may change. */
export function asAccount(account: Account): { uid?: number; gid?: number } {
  return process.getuid?.() === account.uid ? {} : { uid: account.uid, gid: account.gid };
}

function readAccounts(path: string): Account[] {
  try {
    return parsePasswd(readFileSync(path, 'utf8'));
  } catch {
    return [];
  }
}

const NAME = /^[^\s#+:-][^\s:]*$/;
const DIGITS = /^\d+$/;
