import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StreamingCall, startCall } from '../support/fake-client.ts';
import { callGateway, KEY } from '../support/gateway-harness.ts';
import { pick } from '../support/length.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';
import { COMPLETION, type FaultUpstream, sendJson, startFaultUpstream } from './fault-upstream.ts';
import { type GatewayAlone, startGatewayAlone } from './gateway-alone.ts';
import { leavesNothingOpen } from './leaks.ts';

const MIB = 1024 * 1024;
const OFFERED_BYTES = 200 * MIB;
const CLIENT_BYTES_PER_SECOND = 1_000_000;
const READ_MS = pick(4_000, 15_000);
/**
 * Has left the provider and has not been read by the client: what is in the gateway, and in the kernel's buffers of its two
 * connections. What waits in the provider's own send buffer has not left it.
 */
const ON_THE_WAY_BYTES_MAX = 8 * MIB;
const RSS_GROWTH_BYTES_MAX = 50 * MIB;
const CHAT = { model: 'flood', messages: [{ role: 'user', content: 'tell me everything' }] };

/** A client that reads a megabyte a second of 200, and then leaves. */
describe('a client that is slower than its provider', { timeout: READ_MS + 60_000 }, () => {
  leavesNothingOpen();

  /** Calls that bring the process to the size that it has in service. */
  const warmUps = 50;

  interface Seen {
    readonly onTheWayMax: number;
    readonly rssGrowthMax: number;
    readonly taken: number;
  }
  /** Watches until the reading time is over. `taken`: bytes that the kernel has taken from the provider so far. */
  const watch = async (
    gateway: GatewayAlone,
    client: StreamingCall,
    rssBefore: number,
    upstreamPort: number,
    taken: () => Promise<number>,
  ): Promise<Seen> => {
    const until = performance.now() + READ_MS;
    const seen = { onTheWayMax: 0, rssGrowthMax: 0, taken: 0 };
    while (performance.now() < until) {
      await delay(100);
      // The order matters: what the client reads between the two looks must not be counted as on its way.
      seen.taken = await taken();
      const onTheWay = seen.taken - sendQueueBytes(upstreamPort) - client.bytesRead();
      seen.onTheWayMax = Math.max(seen.onTheWayMax, onTheWay);
      seen.rssGrowthMax = Math.max(seen.rssGrowthMax, (await gateway.rss()) - rssBefore);
    }
    return seen;
  };
  const expectBounded = (seen: Seen, client: StreamingCall): void => {
    const read = client.bytesRead();
    // The client did read, at about its pace, so the stream was not merely dead.
    expect(read).toBeGreaterThan((READ_MS / 1_000) * CLIENT_BYTES_PER_SECOND * 0.3);
    expect(read).toBeLessThan((READ_MS / 1_000) * CLIENT_BYTES_PER_SECOND * 1.5);
    expect(seen.taken).toBeGreaterThan(read);
    expect(seen.onTheWayMax).toBeLessThanOrEqual(ON_THE_WAY_BYTES_MAX);
    expect(seen.rssGrowthMax).toBeLessThanOrEqual(RSS_GROWTH_BYTES_MAX);
  };
  const expectSettled = async (gateway: GatewayAlone, index: number, read: number, taken: number): Promise<void> => {
    const settled = await gateway.settled(index + 1);
    expect(settled).toHaveLength(index + 1);
    expect(settled[index]).toMatchObject({ status: 'failure', httpStatus: 499, estimated: true });
    const { completionTokens } = settled[index]!.usage;
    expect(completionTokens).toBeGreaterThan((read / 3.5) * 0.95);
    expect(completionTokens).toBeLessThanOrEqual(Math.ceil(taken / 3.5));
  };

  describe('of a stream', () => {
    let gateway: GatewayAlone;
    let upstream: UpstreamServer;
    beforeAll(async () => {
      upstream = await startUpstream();
      gateway = await startGatewayAlone(upstream.url);
      const normal = { ...CHAT, model: 'normal', stream: true };
      for (let call = 0; call < warmUps; call++) await callGateway(gateway.url, normal);
      await upstream.forget();
    });
    afterAll(async () => {
      await gateway.stop();
      await upstream.stop();
    });

    it('makes the provider wait, costs no memory, and its leaving reaches the provider within a second', async () => {
      await upstream.script({ floodBytes: OFFERED_BYTES });
      const rssBefore = await gateway.rss();
      const client = startCall({
        url: gateway.url,
        key: KEY,
        body: { ...CHAT, stream: true },
        bytesPerSecond: CLIENT_BYTES_PER_SECOND,
        keep: false,
      });
      const seen = await watch(
        gateway,
        client,
        rssBefore,
        upstream.port,
        async () => (await upstream.requests())[0]?.bytesTaken ?? 0,
      );
      const leftAtMs = Date.now();
      client.leave();
      expectBounded(seen, client);
      const request = await upstream.waitFor((requests) => requests.find(({ end }) => end !== 'open'));
      expect(request.end).toBe('peer-closed');
      expect(request.endedAtMs! - leftAtMs).toBeLessThan(1_000);
      expect(request.bytesOffered).toBeLessThan(OFFERED_BYTES);
      await expectSettled(gateway, warmUps, client.bytesRead(), request.bytesTaken);
    });
  });

  describe('of a JSON answer that is too long to be held', () => {
    let gateway: GatewayAlone;
    let upstream: FaultUpstream;
    beforeAll(async () => {
      upstream = await startFaultUpstream();
      upstream.answer((call) => sendJson(call, 200, COMPLETION));
      gateway = await startGatewayAlone(upstream.url);
      for (let call = 0; call < warmUps; call++) await callGateway(gateway.url, { ...CHAT, model: 'normal' });
    });
    afterAll(async () => {
      await gateway.stop();
      await upstream.stop();
    });

    it('makes the provider wait as well', async () => {
      let taken = 0;
      upstream.answer(({ response }) => {
        const piece = Buffer.alloc(64 * 1024, 0x78);
        let offered = 0;
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"choices":[{"message":{"content":"');
        const pump = (): void => {
          while (offered < OFFERED_BYTES && !response.destroyed) {
            offered += piece.length;
            const flowing = response.write(piece, (error) => {
              if (!error) taken += piece.length;
            });
            if (!flowing) return;
          }
        };
        response.on('drain', pump);
        pump();
      });
      const rssBefore = await gateway.rss();
      const client = startCall({
        url: gateway.url,
        key: KEY,
        body: CHAT,
        bytesPerSecond: CLIENT_BYTES_PER_SECOND,
        keep: false,
      });
      // The first 8 MiB are held to be able to say the cost; they are on their way in any case.
      await client.read(1);
      const seen = await watch(gateway, client, rssBefore, upstream.port, async () => taken - 8 * MIB);
      const call = await upstream.call(0);
      const leftAtMs = performance.now();
      client.leave();
      expect((await call.closed) - leftAtMs).toBeLessThan(1_000);
      expect(seen.onTheWayMax).toBeLessThanOrEqual(ON_THE_WAY_BYTES_MAX);
      expect(seen.rssGrowthMax).toBeLessThanOrEqual(RSS_GROWTH_BYTES_MAX);
      expect(taken).toBeLessThan(OFFERED_BYTES);
      await expectSettled(gateway, warmUps, client.bytesRead(), taken);
    });
  });
});

/** Bytes in the kernel's send buffers of this local port; 0 where the system does not tell. */
function sendQueueBytes(port: number): number {
  if (process.platform !== 'linux') return 0;
  let bytes = 0;
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local = '', , , queues = ''] = line.trim().split(/\s+/);
    if (Number.parseInt(local.split(':')[1] ?? '', 16) === port)
      bytes += Number.parseInt(queues.split(':')[0] ?? '', 16);
  }
  return bytes;
}
