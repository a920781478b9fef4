import { createHash } from 'node:crypto';
import { chmodSync, lchownSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { OperatorError } from './operator-error.ts';

export interface RuntimeDirectoryOptions {
  /** Exists already; its real path names the runtime directory. */
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Who will own it: our own uid, or, when we are root, that of the account whose sockets it is for. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Where to look when `XDG_RUNTIME_DIR` is not usable. */
  readonly temporaryDir?: string;
}

/**
 * The directory of all unix sockets of one data directory, made when it is missing. Paths of sockets are short, so they can
 * not live in the data directory itself: `$XDG_RUNTIME_DIR/claviger-<8 hex>`, else `/tmp/claviger-<uid>-<8 hex>`; where
 * neither can be written to (a container with a read-only root), `run/` in the data directory.
 *
 * Everyone may write to /tmp. So what is found there under our name is used only when it is a directory, not a link, owned
 * by the right account and closed to others; a stranger who was there first is an error and not a place to put sockets.
 */
export function runtimeDirectory(options: RuntimeDirectoryOptions): string {
  const { dataDir, env, owner } = options;
  const hex = pathHex(realpathSync(dataDir));
  const xdg = usableXdgRuntimeDir(env, owner.uid);
  const candidates = [
    ...(xdg === null ? [] : [join(xdg, `claviger-${hex}`)]),
    join(options.temporaryDir ?? '/tmp', `claviger-${owner.uid}-${hex}`),
    join(dataDir, owner.uid === process.getuid?.() ? 'run' : `run-${owner.uid}`),
  ];
  for (const path of candidates) {
    if (makePrivateDirectory(path, owner)) return path;
  }
  throw new OperatorError(
    `No directory for unix sockets: none of ${candidates.join(', ')} can be created. Set XDG_RUNTIME_DIR to a directory that belongs to uid ${owner.uid}.`,
  );
}

/** Eight hexadecimal digits that stand for a path. */
export function pathHex(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 8);
}

/** The variable survives `su` and `sudo`, and then it names the directory of somebody else: that counts as not set. */
function usableXdgRuntimeDir(env: RuntimeDirectoryOptions['env'], uid: number): string | null {
  const path = env.XDG_RUNTIME_DIR;
  if (path === undefined || !isAbsolute(path)) return null;
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() && found.uid === uid ? path : null;
}

/** False when it can not be made there; throws when something that is not ours has the name. */
function makePrivateDirectory(path: string, owner: { readonly uid: number; readonly gid: number }): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    // Between the two calls it is ours and closed; nobody else can rename or replace it in a sticky directory.
    if (owner.uid !== process.getuid?.()) lchownSync(path, owner.uid, owner.gid);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') {
      if (code !== undefined && NOT_POSSIBLE_THERE.has(code)) return false;
      throw error;
    }
  }
  const found = lstatSync(path);
  if (!found.isDirectory()) {
    throw new OperatorError(
      `${path} is not a directory; Claviger keeps its unix sockets there. Remove it and start again.`,
    );
  }
  if (found.uid !== owner.uid) {
    throw new OperatorError(
      `${path} belongs to uid ${found.uid} and not to uid ${owner.uid}; Claviger keeps its unix sockets there. Remove it, or set XDG_RUNTIME_DIR to a directory of your own.`,
    );
  }
  if ((found.mode & 0o077) !== 0) chmodSync(path, 0o700);
  return true;
}

const NOT_POSSIBLE_THERE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT']);
