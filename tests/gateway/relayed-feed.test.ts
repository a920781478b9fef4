import { rm } from 'node:fs/promises';
import {
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createRelay, RELAYED_REQUESTS_MAX, type Relay } from '../../src/gateway/endpoints/relay-to-control.ts';
import { type GatewayHarness, startGateway } from '../support/gateway-harness.ts';
import { temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';

const SIGNED = {
  'x-claviger-instance': 'instance',
  'x-claviger-time': '1',
  'x-claviger-nonce': 'nonce',
  'x-claviger-signature': 'signature',
  'x-claviger-session': 'session',
  'x-claviger-counter': '1',
  'x-claviger-mac': 'mac',
};

/** The public port of an admin, where joined workers call: their requests are none of the management API's. */
describe('the feed of joined workers on the public port', () => {
  const held: { request: IncomingMessage; response: ServerResponse }[] = [];
  let dir: string;
  let control: Server;
  let relay: Relay;
  let gateway: GatewayHarness;

  beforeAll(async () => {
    dir = await temporaryDirectory();
    const socket = join(dir, 'control.sock');
    control = createServer((request, response) => {
      request.resume();
      held.push({ request, response });
    });
    await new Promise<void>((resolve) => control.listen(socket, () => resolve()));
    relay = createRelay(socket);
    gateway = await startGateway({ relay });
  });
  afterEach(() => {
    for (const { response } of held.splice(0)) response.destroy();
  });
  afterAll(async () => {
    relay?.close();
    control?.closeAllConnections();
    await gateway?.stop();
    await new Promise((resolve) => control?.close(resolve));
    await rm(dir, { recursive: true, force: true });
  });

  it('keeps the headers that say who signed it, which management routes never get from outside', async () => {
    const sent = { ...SIGNED, 'x-claviger-client-address': '10.0.0.1' };
    const feed = post('/feed/v1/ack', sent);
    const management = post('/key/generate', sent);
    await until('both have arrived', () => (held.length === 2 ? true : null));
    const headersOf = (url: string) => held.find(({ request }) => request.url === url)!.request.headers;
    expect(headersOf('/feed/v1/ack')).toMatchObject(SIGNED);
    expect(headersOf('/feed/v1/ack')['x-claviger-client-address']).not.toBe('10.0.0.1');
    for (const name of Object.keys(SIGNED)) expect(headersOf('/key/generate')[name]).toBeUndefined();
    for (const { response } of held) response.end('{}');
    expect(await Promise.all([feed.status, management.status])).toEqual([200, 200]);
  });

  it('takes no place of the management API, however many workers there are', async () => {
    const workers = Array.from({ length: RELAYED_REQUESTS_MAX + 50 }, () => post('/feed/v1/stream', SIGNED));
    await until('all are connected', () => (held.length === workers.length ? true : null));
    const management = post('/key/generate');
    await until('it is served', () => held.find(({ request }) => request.url === '/key/generate')?.response.end('{}'));
    expect(await management.status).toBe(200);
    for (const worker of workers) worker.destroy();
  });

  it('ends its streams in good order when the process leaves, and they come back elsewhere', async () => {
    const stream = post('/feed/v1/stream', SIGNED);
    const waiting = post('/feed/v1/stream', SIGNED);
    await until('both are connected', () => (held.length === 2 ? true : null));
    held[0]!.response.writeHead(200).write('a line\n');
    await until('the line is there', () => (stream.text() === 'a line\n' ? true : null));
    const management = post('/key/generate');
    await until('it has arrived', () => (held.length === 3 ? true : null));

    relay.endFeeds();
    expect(await stream.ended).toBe('complete');
    // One that had no answer yet is told to come back.
    expect(await waiting.status).toBe(503);
    held.find(({ request }) => request.url === '/key/generate')!.response.end('{}');
    expect(await management.status).toBe(200);
  });

  function post(path: string, headers: Record<string, string> = {}) {
    let text = '';
    const request = requestHttp(`${gateway.url}${path}`, { method: 'POST', agent: false, headers });
    const status = new Promise<number>((resolve, reject) => {
      request.once('response', (answer) => resolve(answer.statusCode ?? 0));
      request.once('error', reject);
    });
    status.catch(() => undefined);
    const ended = new Promise<'complete' | 'cut'>((resolve) => {
      request.once('response', (answer) => {
        answer.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        answer.on('error', () => resolve('cut'));
        answer.once('end', () => resolve(answer.complete ? 'complete' : 'cut'));
      });
    });
    request.end('{}');
    return { status, ended, text: () => text, destroy: () => request.destroy() };
  }
});
