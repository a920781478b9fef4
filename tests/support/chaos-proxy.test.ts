import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { ChaosProxy } from './chaos-proxy.ts';

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

/** A server that says back what it hears. */
async function echo() {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const proxy = await ChaosProxy.start({ port: (server.address() as AddressInfo).port });
  cleanUp.push(() => proxy.close());
  return proxy;
}

function client(proxy: ChaosProxy) {
  const socket = connect(proxy.port, '127.0.0.1');
  const heard = { text: '', error: '', closed: false };
  socket.on('data', (bytes) => {
    heard.text += bytes.toString();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    heard.error = error.code ?? '';
  });
  socket.on('close', () => {
    heard.closed = true;
  });
  cleanUp.push(() => socket.destroy());
  return { socket, heard };
}

test('a good network delivers, later when it has latency', async () => {
  const proxy = await echo();
  const { socket, heard } = client(proxy);
  socket.write('hello');
  await expect.poll(() => heard.text).toBe('hello');
  await proxy.set({ kind: 'pass', latencyMs: 60 });
  const sentAtMs = performance.now();
  socket.write('!');
  await expect.poll(() => heard.text, { interval: 5 }).toBe('hello!');
  expect(performance.now() - sentAtMs).toBeGreaterThanOrEqual(115);
});

test('a black hole delivers nothing and loses nothing that TCP would send again', async () => {
  const proxy = await echo();
  const { socket, heard } = client(proxy);
  socket.write('a');
  await expect.poll(() => heard.text).toBe('a');
  await proxy.set({ kind: 'blackhole' });
  socket.write('b');
  const late = client(proxy);
  late.socket.write('c');
  await expect.poll(() => proxy.connections).toBe(2);
  expect([heard.text, late.heard.text, heard.closed]).toEqual(['a', '', false]);
  await proxy.set({ kind: 'pass' });
  await expect.poll(() => heard.text + late.heard.text).toBe('abc');
});

test('half open: what is sent arrives, what is answered does not', async () => {
  const proxy = await echo();
  const { socket, heard } = client(proxy);
  await proxy.set({ kind: 'half-open' });
  socket.write('x');
  await expect.poll(() => proxy.connections).toBe(1);
  expect(heard.text).toBe('');
  await proxy.set({ kind: 'pass' });
  await expect.poll(() => heard.text).toBe('x');
});

test('reset ends open connections and new ones; refuse does not even listen; both heal', async () => {
  const proxy = await echo();
  const { socket, heard } = client(proxy);
  socket.write('a');
  await expect.poll(() => heard.text).toBe('a');
  await proxy.set({ kind: 'reset' });
  await expect.poll(() => heard.closed).toBe(true);
  const second = client(proxy);
  await expect.poll(() => second.heard.closed).toBe(true);
  await proxy.set({ kind: 'refuse' });
  const third = client(proxy);
  await expect.poll(() => third.heard.error).toBe('ECONNREFUSED');
  await proxy.set({ kind: 'pass' });
  const fourth = client(proxy);
  fourth.socket.write('b');
  await expect.poll(() => fourth.heard.text).toBe('b');
});

test('a drip delivers byte by byte', async () => {
  const proxy = await echo();
  const { socket, heard } = client(proxy);
  await proxy.set({ kind: 'drip', dripIntervalMs: 60 });
  socket.write('slowly');
  await expect.poll(() => heard.text.length).toBeGreaterThan(0);
  expect(heard.text.length).toBeLessThan(6);
  await expect.poll(() => heard.text).toBe('slowly');
});
