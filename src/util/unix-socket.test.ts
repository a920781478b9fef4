import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatorError } from './operator-error.ts';
import {
  assertSocketPathFits,
  listenOnSocket,
  readFromSocket,
  SOCKET_PATH_BYTES_MAX,
  SocketTimeout,
} from './unix-socket.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 's-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('a unix socket', () => {
  it('with a path that would be cut is refused before anything listens', async () => {
    const path = join(directory, 'ä'.repeat(SOCKET_PATH_BYTES_MAX / 2));
    const server = createServer();
    await expect(listenOnSocket(server, path)).rejects.toThrow(OperatorError);
    expect(server.listening).toBe(false);
    expect(() => assertSocketPathFits('x'.repeat(SOCKET_PATH_BYTES_MAX))).not.toThrow();
    expect(() => assertSocketPathFits('x'.repeat(SOCKET_PATH_BYTES_MAX + 1))).toThrow('XDG_RUNTIME_DIR');
  });

  it('takes the place of what a killed process left', async () => {
    const path = join(directory, 'a.sock');
    writeFileSync(path, '');
    const server = createServer((socket) => socket.end('hello'));
    await listenOnSocket(server, path);
    expect(await readFromSocket(path, 1_000)).toBe('hello');
    await new Promise((resolve) => server.close(resolve));
    expect(existsSync(path)).toBe(false);
  });

  it('that nobody answers on ends in a time-out, and one that says too much in an error', async () => {
    const path = join(directory, 'a.sock');
    let answer = '';
    const server = createServer((socket) => {
      socket.on('error', () => {});
      if (answer !== '') socket.end(answer);
    });
    await listenOnSocket(server, path);
    await expect(readFromSocket(path, 50)).rejects.toThrow(SocketTimeout);
    answer = 'x'.repeat(10_000);
    await expect(readFromSocket(path, 1_000)).rejects.toThrow('says more than');
    server.close();
  });
});
