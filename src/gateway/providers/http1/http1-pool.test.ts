import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer,
  type OnReadOpts,
  type Server,
  type Socket,
} from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../util/clock.ts';
import type { UpstreamError, UpstreamHandler } from '../upstream.ts';
import { Http1Pool } from './http1-pool.ts';

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const REQUEST = {
  head: 'GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n',
  body: Buffer.alloc(0),
  headersTimeoutMs: 5_000,
  bodyTimeoutMs: 5_000,
};

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const undo of cleanUp.splice(0)) undo();
});

/** A provider that keeps each request until it is told to answer. */
async function provider() {
  const sockets: Socket[] = [];
  const waiting: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on('data', () => waiting.push(socket));
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    waiting,
    answerOne: () => waiting.shift()!.write(ANSWER),
  };
}

/** Sockets whose opening ends when the test says so. */
function heldOpenings(port: number) {
  const ready: (() => void)[] = [];
  const sockets: Socket[] = [];
  const connect = (onread: OnReadOpts, onReady: () => void): Socket => {
    const socket = connectTcp({ host: '127.0.0.1', port, onread });
    sockets.push(socket);
    ready.push(onReady);
    return socket;
  };
  return { connect, ready, sockets };
}

function poolOf(connect: Http1PoolTestConnect, bounds: { openingMax?: number; connectTimeoutMs?: number } = {}) {
  const pool = new Http1Pool({
    connect,
    clock: systemClock,
    connectionsMax: 100,
    openingMax: 100,
    connectTimeoutMs: 5_000,
    idleTimeoutMs: 4_000,
    ...bounds,
  });
  cleanUp.push(() => pool.close());
  return pool;
}
type Http1PoolTestConnect = (onread: OnReadOpts, onReady: () => void) => Socket;

function send(pool: Http1Pool): Promise<string> & { abort(): void } {
  let abort = () => {};
  const outcome = new Promise<string>((resolve) => {
    let text = '';
    const handler: UpstreamHandler = {
      onStart: (abortCall) => {
        abort = abortCall;
      },
      onHead: () => {},
      onData: (chunk) => {
        text += chunk.toString();
        return true;
      },
      onEnd: () => resolve(text),
      onError: (error: UpstreamError) => resolve(`${error.kind}`),
    };
    pool.send(REQUEST, handler);
  });
  return Object.assign(outcome, { abort: () => abort() });
}

test('a request that waits takes the connection that is free first, not the one that was opened for it', async () => {
  const upstream = await provider();
  const { connect, ready } = heldOpenings(upstream.port);
  const pool = poolOf(connect);
  const first = send(pool);
  ready[0]!();
  await expect.poll(() => upstream.waiting.length).toBe(1);
  const second = send(pool);
  expect(ready).toHaveLength(2);
  upstream.answerOne();
  expect(await first).toBe('ok');
  await expect.poll(() => upstream.waiting.length).toBe(1);
  expect(upstream.waiting[0]).toBe(upstream.sockets[0]);
  upstream.answerOne();
  expect(await second).toBe('ok');
});

test('no more connections are being opened than requests wait, and never more than the bound', async () => {
  const upstream = await provider();
  const { connect, ready } = heldOpenings(upstream.port);
  const pool = poolOf(connect, { openingMax: 3 });
  const calls = Array.from({ length: 10 }, () => send(pool));
  expect(ready).toHaveLength(3);
  ready[0]!();
  expect(ready).toHaveLength(4);
  calls.push(send(pool));
  expect(ready).toHaveLength(4);
  for (let index = 1; index < ready.length; index += 1) ready[index]!();
  for (let answered = 0; answered < calls.length; answered += 1) {
    await expect.poll(() => upstream.waiting.length).toBeGreaterThan(0);
    upstream.answerOne();
  }
  expect(await Promise.all(calls)).toEqual(calls.map(() => 'ok'));
});

test('a connection that can not be opened fails the request that waited longest, and the others get theirs', async () => {
  const upstream = await provider();
  const { connect, ready, sockets } = heldOpenings(upstream.port);
  const pool = poolOf(connect, { openingMax: 1 });
  const first = send(pool);
  const second = send(pool);
  sockets[0]!.destroy(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
  expect(await first).toBe('connect');
  expect(ready).toHaveLength(2);
  ready[1]!();
  await expect.poll(() => upstream.waiting.length).toBe(1);
  upstream.answerOne();
  expect(await second).toBe('ok');
});

test('when nothing can be opened, every waiting request fails instead of hanging', async () => {
  const { connect } = heldOpenings(1);
  const pool = poolOf(connect, { openingMax: 2 });
  const calls = Array.from({ length: 20 }, () => send(pool));
  expect(await Promise.all(calls)).toEqual(calls.map(() => 'connect'));
});

test('an opening that never ends is given up, so that it does not hold its place', async () => {
  const upstream = await provider();
  const { connect, ready } = heldOpenings(upstream.port);
  const pool = poolOf(connect, { openingMax: 1, connectTimeoutMs: 30 });
  expect(await send(pool)).toBe('timeout');
  const next = send(pool);
  await expect.poll(() => ready.length).toBe(2);
  ready[1]!();
  await expect.poll(() => upstream.waiting.length).toBe(1);
  upstream.answerOne();
  expect(await next).toBe('ok');
});

test('a request that leaves while it waits leaves the opened connection for the next', async () => {
  const upstream = await provider();
  const { connect, ready } = heldOpenings(upstream.port);
  const pool = poolOf(connect);
  const left = send(pool);
  left.abort();
  expect(await left).toBe('aborted');
  ready[0]!();
  const next = send(pool);
  expect(ready).toHaveLength(1);
  await expect.poll(() => upstream.waiting.length).toBe(1);
  upstream.answerOne();
  expect(await next).toBe('ok');
});
