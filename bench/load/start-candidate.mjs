/** What all candidates have in common: a process pinned to one core, its log in a file, a port that answers. */
import { spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { delimiter, join } from 'node:path';
import { processTree } from './process-stats.mjs';

/** How long a candidate may take until it listens; LiteLLM loads for tens of seconds. */
const LISTEN_MS_MAX = 120_000;
/** After SIGTERM; then SIGKILL to the whole tree. */
const STOP_MS_MAX = 20_000;

/**
 * Starts a command on `core` (null: anywhere). `log` receives stdout and stderr. `stopTarget` picks from the process tree
 * whom to ask to stop; without it that is the command itself.
 */
export function startProcess({ command, args, env, cwd, core, log, stopTarget }) {
  const pinned = core !== null && findOnPath('taskset') !== null;
  const output = openSync(log, 'a');
  const child = spawn(pinned ? 'taskset' : command, pinned ? ['-c', `${core}`, command, ...args] : args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const ended = new Promise((resolve) => {
    child.once('exit', resolve);
    child.once('error', resolve);
  });
  const killTree = () => {
    for (const pid of processTree(child.pid).reverse()) kill(pid, 'SIGKILL');
  };
  const killAtExit = () => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) killTree();
  };
  process.once('exit', killAtExit);
  return {
    pid: child.pid,
    running: () => child.exitCode === null && child.signalCode === null,
    logText: () => readFileSync(log, 'utf8').slice(-4_000),
    async stop() {
      process.off('exit', killAtExit);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const tree = processTree(child.pid);
      kill(stopTarget?.(tree) ?? child.pid, 'SIGTERM');
      let timer;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, STOP_MS_MAX, 'late');
      });
      if ((await Promise.race([ended, late])) === 'late') for (const pid of tree.reverse()) kill(pid, 'SIGKILL');
      clearTimeout(timer);
    },
  };
}

/** Waits until something listens on the port, or says why nothing does. */
export async function listening(port, started, name) {
  const deadline = Date.now() + LISTEN_MS_MAX;
  while (!(await accepts(port))) {
    if (!started.running()) throw new Error(`${name} ended before it listened. Its last words:\n${started.logText()}`);
    if (Date.now() > deadline)
      throw new Error(`${name} did not listen within ${LISTEN_MS_MAX} ms:\n${started.logText()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** A port that nobody uses now. Somebody may take it before the candidate does; then the candidate says so. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Absolute path of a command, also from the directories of system daemons, or null. */
export function findOnPath(command) {
  for (const dir of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']) {
    if (dir === '') continue;
    try {
      const path = join(dir, command);
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return null;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {}
}
