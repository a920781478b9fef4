import { randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../util/clock.ts';
import { OperatorError } from '../util/operator-error.ts';
import { processIdentity } from '../util/process-identity.ts';
import { pathHex } from '../util/runtime-directory.ts';
import { listenOnSocket, readFromSocket, SocketTimeout } from '../util/unix-socket.ts';

export interface DataDirectoryLock {
  release(): Promise<void>;
}

export interface LockOptions {
  readonly dataDir: string;
  readonly socketDir: string;
  readonly clock: Clock;
}

/**
 * One instance per data directory. The lock is a unix socket that is listened on, so it is gone when its process is, however
 * that ended.
 *
 * Each start has a socket of its own and publishes it in the data directory, as a link
 * `lock-<pid>-<id>-<fingerprint of the process>` to it. (Where the sockets are depends on the environment; the data directory
 * does not.) Names are never used twice, so a socket that nobody
 * listens on is dead for good and may be removed by anyone; with one fixed name two starts could both find the dead socket
 * of a killed one and the slower would remove the socket of the faster.
 *
 * A start publishes, then looks at all the others. One that holds the lock wins. Between those that are still claiming it the
 * lower id wins: the higher withdraws, the lower waits until it has. Of two that claim, at least one sees the other, because
 * both publish before they look; so never do two hold it, and the lowest id is never turned away by a claim.
 */
export async function lockDataDirectory({ dataDir, socketDir, clock }: LockOptions): Promise<DataDirectoryLock> {
  const id = randomBytes(4).toString('hex');
  const socketPath = join(socketDir, `lock-${id}.sock`);
  const link = join(dataDir, `lock-${process.pid}-${id}-${fingerprint(process.pid)}`);
  let state: Claim['state'] = 'claiming';
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(JSON.stringify({ state, id } satisfies Claim));
  });
  const release = async (): Promise<void> => {
    rmSync(link, { force: true });
    await close(server);
  };

  await listenOnSocket(server, socketPath);
  symlinkSync(socketPath, link);
  try {
    const deadlineMs = clock.monotonicMs() + CLAIM_TIMEOUT_MS;
    for (;;) {
      const others = await askOthers(dataDir, link);
      // Nothing may be awaited between the look that found nobody and this.
      if (others.length === 0) {
        state = 'holding';
        server.unref();
        return { release };
      }
      const winner = others.find((other) => other.state === 'holding' || other.id < id);
      if (winner !== undefined || clock.monotonicMs() > deadlineMs) throw occupied(dataDir, winner ?? others[0]!);
      await delay(CLAIM_POLL_MS);
    }
  } catch (error) {
    await release();
    throw error;
  }
}

/** Beyond it a start gives up waiting for one with a higher id to withdraw, which takes milliseconds. */
const CLAIM_TIMEOUT_MS = 5_000;
const CLAIM_POLL_MS = 20;
/** A holder that does not answer within this is stopped or very busy, and holds the lock. */
const ANSWER_TIMEOUT_MS = 1_000;
const LINK = /^lock-(\d+)-([0-9a-f]{8})-([0-9a-f]{8})$/;

interface Claim {
  readonly state: 'claiming' | 'holding';
  readonly id: string;
}

interface Other extends Claim {
  readonly pid: number;
}

/** Everyone else who lives. The dead are removed, and the answer is only given when the last look found nobody new. */
async function askOthers(dataDir: string, ownLink: string): Promise<Other[]> {
  for (;;) {
    const links = listOthers(dataDir, ownLink);
    if (links.length === 0) return [];
    const others = (await Promise.all(links.map((link) => askOther(dataDir, link)))).filter((other) => other !== null);
    if (others.length > 0) return others;
  }
}

function listOthers(dataDir: string, ownLink: string): RegExpExecArray[] {
  return readdirSync(dataDir)
    .filter((name) => join(dataDir, name) !== ownLink)
    .map((name) => LINK.exec(name))
    .filter((match) => match !== null);
}

async function askOther(dataDir: string, [name, pid = '', id = '', print]: RegExpExecArray): Promise<Other | null> {
  const link = join(dataDir, name);
  let socketPath: string;
  try {
    socketPath = readlinkSync(link);
  } catch {
    // It withdrew meanwhile.
    return null;
  }
  try {
    const answer: Claim = JSON.parse(await readFromSocket(socketPath, ANSWER_TIMEOUT_MS));
    return { state: answer.state, id, pid: Number(pid) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Somebody may have cleaned /tmp below a process that lives.
    if (code === 'ENOENT' && print === fingerprint(Number(pid))) return { state: 'holding', id, pid: Number(pid) };
    if (code === 'ECONNREFUSED' || code === 'ENOENT') {
      rmSync(link, { force: true });
      rmSync(socketPath, { force: true });
      return null;
    }
    // It died, or withdrew, while we were asking: the next round finds out which.
    if (error instanceof SyntaxError || code === 'ECONNRESET' || code === 'EPIPE')
      return { state: 'claiming', id: 'z', pid: Number(pid) };
    if (error instanceof SocketTimeout || code === 'EACCES' || code === 'EAGAIN')
      return { state: 'holding', id, pid: Number(pid) };
    throw error;
  }
}

function fingerprint(pid: number): string {
  return pathHex(processIdentity(pid) ?? 'gone');
}

function occupied(dataDir: string, { pid, state }: Other): OperatorError {
  const what = state === 'holding' ? 'is running on' : 'is starting on';
  return new OperatorError(
    `Another Claviger (process ${pid}) ${what} the data directory ${dataDir}; end it, or choose another directory with CLAVIGER_DATA_DIR.`,
  );
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
