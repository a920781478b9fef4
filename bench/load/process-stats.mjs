/** Reads CPU time and memory of processes from `/proc`. Linux only; elsewhere nothing is measured and main.mjs says so. */
import { readdirSync, readFileSync } from 'node:fs';

/** `utime` and `stime` are counted in hundredths of a second on every Linux that Node supports. */
const TICKS_PER_SECOND = 100;

/** Process id and all its descendants, the parent first. */
export function processTree(root) {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat === null) continue;
    const siblings = children.get(stat.parent);
    if (siblings === undefined) children.set(stat.parent, [Number(name)]);
    else siblings.push(Number(name));
  }
  const tree = [root];
  for (let i = 0; i < tree.length; i++) tree.push(...(children.get(tree[i]) ?? []));
  return tree;
}

/** CPU seconds that the processes have used so far. A process that is gone counts as 0. */
export function cpuSeconds(pids) {
  let user = 0;
  let system = 0;
  for (const pid of pids) {
    const stat = statOf(pid);
    if (stat === null) continue;
    user += stat.user;
    system += stat.system;
  }
  return { user, system, total: user + system };
}

/** Resident bytes of one process now, 0 when it is gone. */
export function residentBytes(pid) {
  const line = /^VmRSS:\s*(\d+) kB/m.exec(readOrEmpty(`/proc/${pid}/status`));
  return line === null ? 0 : Number(line[1]) * 1_024;
}

/** Seconds that a core was busy, whoever used it. */
export function coreBusySeconds(core) {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readOrEmpty('/proc/stat'));
  if (line === null) return 0;
  const [user, nice, system, , , irq, softirq, steal] = line[1].split(' ').map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

export function commandLine(pid) {
  return readOrEmpty(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
}

function statOf(pid) {
  const text = readOrEmpty(`/proc/${pid}/stat`);
  if (text === '') return null;
  // The name in parentheses may hold anything, also a closing parenthesis; the numbers follow the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    parent: Number(fields[1]),
    user: Number(fields[11]) / TICKS_PER_SECOND,
    system: Number(fields[12]) / TICKS_PER_SECOND,
  };
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
