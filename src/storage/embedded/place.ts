import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Account, accountCanUse, accountOfUid, findAccount, ownAccount } from '../../util/account.ts';
import { OperatorError } from '../../util/operator-error.ts';
import { canRunInPlace } from './binaries.ts';
import type { PlatformPackage } from './platform-package.ts';

/** Where the database lives and who runs it. */
export interface Place {
  readonly account: Account;
  /** Holds the database directory, its log and, when needed, a copy of the binaries. */
  readonly root: string;
  /** `<root>/postgres-<major>`. */
  readonly databaseDir: string;
  readonly exists: boolean;
  /** A sentence for the operator when the database is not in the data directory. */
  readonly remark: string | null;
}

export interface PlaceOptions {
  readonly dataDir: string;
  readonly source: PlatformPackage;
  /** Used when we are root and the data directory or the binaries can not be reached without being root. */
  readonly outsideRoot: string;
}

/** PostgreSQL refuses to run as root. */
const ACCOUNT_NAMES = ['postgres', 'nobody'] as const;

export function decidePlace(options: PlaceOptions): Place {
  return process.getuid?.() === 0 ? placeForRoot(options) : placeForUser(options);
}

function placeForUser({ dataDir, source }: PlaceOptions): Place {
  const account = ownAccount();
  if (account === null) {
    throw new OperatorError(
      `The embedded PostgreSQL needs an account, and uid ${process.getuid?.()} has no entry in /etc/passwd; run Claviger as an account that has one, or set DATABASE_URL to a PostgreSQL (version 14 or newer).`,
    );
  }
  const databaseDir = join(dataDir, `postgres-${source.major}`);
  const exists = existsSync(databaseDir);
  if (exists) {
    const { uid } = statSync(databaseDir);
    if (uid !== account.uid) {
      throw new OperatorError(
        `The database ${databaseDir} belongs to ${nameOf(uid)} and not to ${account.name}: Claviger was started as another account before (root runs it as account ${nameOf(uid)}). Start it as that account again, or give the directory to this one with \`chown -R ${account.name}\`.`,
      );
    }
  } else {
    refuseOtherMajor(dataDir, source.major);
  }
  return { account, root: dataDir, databaseDir, exists, remark: null };
}

/**
 * A database that exists is used where it is, by the account that owns it, so that a change of permissions never makes a
 * second, empty one. A new one is made in the data directory when the account can reach it and the binaries.
 */
function placeForRoot({ dataDir, source, outsideRoot }: PlaceOptions): Place {
  const inside = join(dataDir, `postgres-${source.major}`);
  const outside = join(outsideRoot, `postgres-${source.major}`);
  openForPassage(dataDir);
  if (existsSync(inside)) {
    const { uid } = statSync(inside);
    const account = accountThatOwns(inside, uid);
    if (accountCanUse(account, inside, 'write')) {
      return { account, root: dataDir, databaseDir: inside, exists: true, remark: null };
    }
    if (!existsSync(outside)) {
      throw new OperatorError(
        `The database ${inside} can not be reached by account ${account.name}, as which PostgreSQL runs; let it pass with \`chmod o+x\` on the directories above, or set DATABASE_URL to a PostgreSQL (version 14 or newer).`,
      );
    }
  }
  if (existsSync(outside)) {
    const account = accountThatOwns(outside, statSync(outside).uid);
    return {
      account,
      root: outsideRoot,
      databaseDir: outside,
      exists: true,
      remark: outsideRemark(dataDir, outsideRoot, account),
    };
  }
  const account = findAccount(ACCOUNT_NAMES);
  if (account === null) {
    throw new OperatorError(
      'PostgreSQL does not run as root, and this system has neither an account "postgres" nor "nobody"; start Claviger as an ordinary account, or set DATABASE_URL to a PostgreSQL (version 14 or newer).',
    );
  }
  refuseOtherMajor(dataDir, source.major);
  refuseOtherMajor(outsideRoot, source.major);
  if (canOwnDirectoryIn(dataDir, account) && canRunInPlace(source, account)) {
    return { account, root: dataDir, databaseDir: inside, exists: false, remark: null };
  }
  mkdirSync(outsideRoot, { recursive: true, mode: 0o755 });
  for (const path of [join(outsideRoot, '..'), outsideRoot]) chmodSync(path, 0o755);
  return {
    account,
    root: outsideRoot,
    databaseDir: outside,
    exists: false,
    remark: outsideRemark(dataDir, outsideRoot, account),
  };
}

function outsideRemark(dataDir: string, outsideRoot: string, account: Account): string {
  return `PostgreSQL runs as account ${account.name}, which can not reach ${dataDir} or the installation; its database is in ${outsideRoot}`;
}

/**
 * The account has to walk through our data directory to its own. It may pass (it can not list), and everything else in there
 * is closed to it by its own mode.
 */
function openForPassage(dataDir: string): void {
  const found = statSync(dataDir);
  if (found.uid === 0 && (found.mode & 0o777) === 0o700) chmodSync(dataDir, 0o711);
}

/** Tried with a directory of its own, since the account writes nowhere else. */
function canOwnDirectoryIn(parent: string, account: Account): boolean {
  const probe = join(parent, `.probe-${randomBytes(4).toString('hex')}`);
  try {
    mkdirSync(probe, { mode: 0o700 });
    chownSync(probe, account.uid, account.gid);
    return accountCanUse(account, probe, 'write');
  } catch {
    // A volume that does not let root give files away (NFS with root squashed).
    return false;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

function accountThatOwns(directory: string, uid: number): Account {
  if (uid === 0) {
    throw new OperatorError(
      `The database ${directory} belongs to root, and PostgreSQL does not run as root; give it back with \`chown -R ${ACCOUNT_NAMES[0]}\` (or the account it had before).`,
    );
  }
  const account = accountOfUid(uid);
  if (account === null) {
    throw new OperatorError(
      `The database ${directory} belongs to uid ${uid}, which has no entry in /etc/passwd; give it to an account that exists with \`chown -R\`, or set DATABASE_URL to a PostgreSQL (version 14 or newer).`,
    );
  }
  return account;
}

function refuseOtherMajor(root: string, major: string): void {
  if (!existsSync(root)) return;
  const other = readdirSync(root).find(
    (name) => /^postgres-\d+$/.test(name) && lstatSync(join(root, name)).isDirectory(),
  );
  if (other === undefined || other === `postgres-${major}`) return;
  const otherMajor = other.slice('postgres-'.length);
  throw new OperatorError(
    `The database ${join(root, other)} was made by PostgreSQL ${otherMajor}, and this version of Claviger brings PostgreSQL ${major}, which can not read it. Start the previous version of Claviger and save the database with pg_dump, then move ${other} away, start this version and restore it; or set DATABASE_URL to a PostgreSQL ${otherMajor}.`,
  );
}

function nameOf(uid: number): string {
  return accountOfUid(uid)?.name ?? `uid ${uid}`;
}
