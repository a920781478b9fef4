import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Text that belongs to this one process and to no later one with the same number; null when it does not run (any more). A
 * dead process that its parent has not collected counts as not running: below a container's first process, which often
 * collects nobody, it stays in the table for ever.
 */
export function processIdentity(pid: number): string | null {
  return process.platform === 'linux' ? linuxIdentity(pid) : identityFromPs(pid);
}

/** The command line; null when there is no such process. */
export function processCommand(pid: number): readonly string[] | null {
  if (process.platform === 'linux') {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0$/, '').split('\0');
    } catch {
      return null;
    }
  }
  const text = ps(pid, 'command=');
  return text === null ? null : [text];
}

function linuxIdentity(pid: number): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The second field is the program's name in parentheses and may contain anything, also ") ".
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const startTicks = fields[19];
  if (state === 'Z' || state === 'X' || startTicks === undefined) return null;
  return `${bootId()}/${pid}/${startTicks}`;
}

/** Start times count from the boot of the machine, so they mean nothing across one. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

function identityFromPs(pid: number): string | null {
  const text = ps(pid, 'state=,lstart=');
  return text === null || text.startsWith('Z') ? null : `${pid}/${text.replace(/^\S+\s+/, '')}`;
}

function ps(pid: number, columns: string): string | null {
  const { status, stdout } = spawnSync('ps', ['-o', columns, '-p', String(pid)], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  });
  const text = status === 0 ? stdout.trim() : '';
  return text === '' ? null : text;
}
