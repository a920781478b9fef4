import { rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { OperatorError } from './operator-error.ts';

/**
 * The kernel's limit is 107 bytes on Linux and 103 on macOS, and Node cuts what is longer without a word: the socket then
 * has another name than the one that others dial. So a longer path is refused before `listen`.
 */
export const SOCKET_PATH_BYTES_MAX = 100;

export function assertSocketPathFits(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= SOCKET_PATH_BYTES_MAX) return;
  throw new OperatorError(
    `The path of the unix socket ${path} has ${bytes} bytes, and at most ${SOCKET_PATH_BYTES_MAX} work; set XDG_RUNTIME_DIR to a shorter directory, or unset it to use /tmp.`,
  );
}

/**
 * Listens on a unix socket. A file in its place is removed: the caller owns the name, so what is there was left by a process
 * that was killed.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  assertSocketPathFits(path);
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Exclusive: in a process of `cluster` the primary would listen instead, and its listener outlives a process that is killed.
    server.listen({ path, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Sends nothing, and returns what the other side says until it ends. Rejects with the error of the connection. */
export function readFromSocket(path: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path);
    socket.setTimeout(timeoutMs, () => socket.destroy(new SocketTimeout(path, timeoutMs)));
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > ANSWER_CHARS_MAX)
        socket.destroy(new Error(`${path} says more than ${ANSWER_CHARS_MAX} characters`));
    });
    socket.once('end', () => resolve(text));
    socket.once('error', reject);
    socket.once('close', () => resolve(text));
  });
}

/** Something listens there and does not answer. */
export class SocketTimeout extends Error {
  constructor(path: string, timeoutMs: number) {
    super(`${path} did not answer within ${timeoutMs} ms`);
  }
}

/** Longer answers are cut off with an error: whoever listens there is not one of ours. */
const ANSWER_CHARS_MAX = 4_096;
