import { spawnSync } from 'node:child_process';

/** A uid that no passwd file knows, like the one that a cluster gives to a container. */
export const anyUid = 54_321;

/**
 * The command that runs `command` as such a uid, without any capability, in a file system where only `writableDir` can be
 * written. Null where we are not allowed to make one: then the caller can only rely on the modes of the files.
 */
export function sandboxed(command: readonly string[], writableDir: string): readonly string[] | null {
  if (process.getuid?.() !== 0) return null;
  const script = [
    'mount --bind "$1" "$1"',
    // A temporary directory of its own may be a mount of its own.
    'for place in / /tmp /var/tmp /dev/shm; do mountpoint -q "$place" && mount -o remount,bind,ro "$place"; done',
    'if touch /tmp/.claviger-can-write 2>/dev/null; then echo "the sandbox is not read-only" >&2; exit 70; fi',
    'shift',
    `exec setpriv --reuid=${anyUid} --regid=${anyUid} --clear-groups --bounding-set=-all --inh-caps=-all "$@"`,
  ].join('\n');
  const sandbox = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sandbox', writableDir];
  const works = spawnSync(sandbox[0] ?? '', [...sandbox.slice(1), 'true'], { stdio: 'ignore' }).status === 0;
  return works ? [...sandbox, ...command] : null;
}
