import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { at, recordingLog } from '../../../tests/support/principals.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { FEED_ECHO_INTERVAL_MS, type GatewayStats, type PingReply, type PingRequest } from '../../feed/protocol.ts';
import type { FeedAnswer } from './feed-transport.ts';
import { LiveKnowledge } from './live-knowledge.ts';
import { PING_TIMEOUT_MS, Pinger, type PingerOptions } from './pinger.ts';
import { MapPrincipalStore } from './principal-store.ts';

/** A control process at the other end, which answers when the test says so. */
class Line {
  nowMs = 5_000;
  readonly sent: { readonly ping: PingRequest; readonly answer: (answer: FeedAnswer | Error) => void }[] = [];
  live = true;
  readonly store = new MapPrincipalStore();
  readonly knowledge: LiveKnowledge;
  readonly pinger: Pinger;
  readonly dated: number[] = [];

  constructor(options: Partial<PingerOptions> = {}) {
    this.store.beginSnapshot().commit(at(7));
    this.knowledge = new LiveKnowledge(this.store, {} as Configuration, { monotonicMs: () => this.nowMs });
    this.knowledge.onDated = (readAtMs) => this.dated.push(readAtMs);
    this.pinger = new Pinger({
      transport: {
        post: (path, body, timeoutMs) => {
          expect([path, timeoutMs]).toEqual(['/feed/v1/ping', PING_TIMEOUT_MS]);
          return new Promise((resolve, reject) => {
            const ping = JSON.parse(String(body)) as PingRequest;
            this.sent.push({ ping, answer: (a) => (a instanceof Error ? reject(a) : resolve(a)) });
          });
        },
      },
      identity: { gatewayId: 'i/0', session: 's' },
      knowledge: this.knowledge,
      stats: () => ({}) as GatewayStats,
      isLive: () => this.live,
      wallMs: () => 1.7e12 + this.nowMs,
      random: () => 0.5,
      log: recordingLog().log,
      ...options,
    });
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    await vi.advanceTimersByTimeAsync(ms);
  }

  async answer(index: number, fields: Partial<PingReply> = {}): Promise<void> {
    const { ping, answer } = this.sent[index]!;
    const reply: PingReply = {
      sentAtMs: ping.sentAtMs,
      epoch: 1,
      rev: 7,
      dbAgeMs: 0,
      witnessRev: 7,
      witnessAgeMs: 100,
      serverTimeMs: 1.7e12,
      ...fields,
    };
    answer({ status: 200, body: JSON.stringify(reply) });
    await vi.advanceTimersByTimeAsync(0);
  }
}

let line: Line;
beforeEach(() => {
  vi.useFakeTimers();
  line = new Line();
});
afterEach(() => {
  line.pinger.stop();
  vi.useRealTimers();
});

describe('pings', () => {
  it('say who asks, and date what is known by when they were sent', async () => {
    line.pinger.run();
    expect(line.sent[0]!.ping).toMatchObject({ gatewayId: 'i/0', session: 's', epoch: 1, rev: 7, fresh: false });
    await line.pass(400);
    await line.answer(0);
    expect(line.knowledge.stalenessMs('strict')).toBe(500);
    expect(line.knowledge.ageMs()).toBe(400);
    // Half way between sending and hearing, the control plane said 1.7e12.
    expect(line.pinger.clockOffsetMs).toBe(5_200);
  });

  it('come every interval while the feed is live, one at a time', async () => {
    line.pinger.run();
    await line.pass(FEED_ECHO_INTERVAL_MS);
    expect(line.sent).toHaveLength(1);
    await line.answer(0);
    await line.pass(FEED_ECHO_INTERVAL_MS);
    expect(line.sent).toHaveLength(2);
    await line.answer(1);
    line.live = false;
    await line.pass(10 * FEED_ECHO_INTERVAL_MS);
    expect(line.sent).toHaveLength(2);
    line.live = true;
    line.pinger.feedIsAlive();
    expect(line.sent).toHaveLength(3);
    // Once is enough.
    line.pinger.feedIsAlive();
    await line.answer(2);
    line.pinger.feedIsAlive();
    expect(line.sent).toHaveLength(3);
  });

  it('go on after an answer that did not come, was refused, or is not one', async () => {
    line.pinger.run();
    const answers: (FeedAnswer | Error)[] = [
      new Error('no answer'),
      { status: 503, body: '{}' },
      { status: 200, body: 'x' },
      { status: 200, body: JSON.stringify({ sentAtMs: 1 }) },
    ];
    for (const [index, answer] of answers.entries()) {
      line.sent[index]!.answer(answer);
      await line.pass(FEED_ECHO_INTERVAL_MS);
      expect(line.sent).toHaveLength(index + 2);
    }
    // To another ping than the one it came for.
    await line.answer(answers.length, { sentAtMs: 1 });
    expect(line.knowledge.witness).toBeNull();
  });

  it('come less often when the control process asks for it, within what the fence allows', async () => {
    line = new Line({ intervalMs: 500, intervalMaxMs: 4_000 });
    line.pinger.run();
    await line.answer(0, { intervalMs: 3_000 });
    // The next one is planned already.
    await line.pass(500);
    await line.answer(1, { intervalMs: 60_000 });
    await line.pass(2_999);
    expect(line.sent).toHaveLength(2);
    await line.pass(1);
    expect(line.sent).toHaveLength(3);
    await line.answer(2, { intervalMs: 0 });
    await line.pass(4_000);
    expect(line.sent).toHaveLength(4);
    await line.answer(3, { intervalMs: 0 });
    await line.pass(500);
    expect(line.sent).toHaveLength(5);
  });
});

describe('a question for somebody who waits', () => {
  it('goes out beside the ordinary ping, at once, and once for all that ask', async () => {
    line.pinger.run();
    line.pinger.askNow(line.nowMs);
    line.pinger.askNow(line.nowMs);
    await line.pass(20);
    // For what it is to be newer than, the one under way will do.
    line.pinger.askNow(5_000);
    expect(line.sent.map(({ ping }) => ping.fresh)).toEqual([false, true]);
    await line.answer(1, { dbAgeMs: 5 });
    // The database was read after it was asked, however old the answer says that is.
    expect(line.dated).toEqual([5_000]);
  });

  it('does not wait for the answer to an earlier one, within bounds of number and time', async () => {
    for (let step = 0; step < 200; step++) {
      line.pinger.askNow(line.nowMs);
      await line.pass(1);
    }
    expect(line.sent.map(({ ping }) => ping.sentAtMs)).toEqual([5_000, 5_025, 5_050]);
    await line.answer(0);
    line.pinger.askNow(line.nowMs);
    expect(line.sent).toHaveLength(4);
  });

  it('that is not answered does not keep the next one from being asked', async () => {
    line.pinger.askNow(line.nowMs);
    line.sent[0]!.answer(new Error('away'));
    await line.pass(100);
    line.pinger.askNow(line.nowMs);
    expect(line.sent).toHaveLength(2);
  });
});
