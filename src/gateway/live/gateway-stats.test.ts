import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  createGatewayStats,
  DISK_INTERVAL_MS,
  type GatewayStatsSources,
  measureDisk,
  watchEventLoop,
} from './gateway-stats.ts';

function rig(changes: Partial<GatewayStatsSources> = {}) {
  const state = { nowMs: 0, diskLooks: 0, counts: { requests: 0, errors: 0, tooMany: 0 } };
  const stats = createGatewayStats({
    monotonicMs: () => state.nowMs,
    stalenessMs: () => Number.POSITIVE_INFINITY,
    clockOffsetMs: () => null,
    store: { setHash: 'h', keyCount: 3 },
    config: () => ({ rev: 1, rejected: null, hash: 'c' }),
    usageLog: { lastSeq: 9 },
    shipper: { acknowledgedSeq: 7, backlogRecords: 1, oldestUnshippedAgeMs: 12.4 },
    requests: { counts: state.counts, inFlight: { value: 4 } },
    isDraining: () => false,
    dependencies: () => ({ controlPlane: null, mirror: null }),
    eventLoop: { p99Ms: () => 1.2345, stop() {} },
    disk: async () => {
      state.diskLooks++;
      return { usageLogBytes: 100, freeBytes: 200 };
    },
    ...changes,
  });
  return { state, stats };
}

describe('what a gateway process says about itself', () => {
  it('has rates of the last minute, whatever came before', () => {
    const { state, stats } = rig();
    stats();
    for (let second = 1; second <= 300; second++) {
      state.nowMs = second * 1_000;
      // Ten in each of the first 240 seconds, one in each of the last 60.
      state.counts.requests += second <= 240 ? 10 : 1;
      if (second > 297) state.counts.tooMany += 1;
      stats();
    }
    expect(stats()).toMatchObject({ requestsPerMinute: 60, tooManyPerMinute: 3, errorsPerMinute: 0 });
  });

  it('keeps few samples however often it is asked', () => {
    const { state, stats } = rig();
    for (let ms = 0; ms < 120_000; ms += 10) {
      state.nowMs = ms;
      state.counts.requests++;
      stats();
    }
    expect(stats().requestsPerMinute).toBeGreaterThanOrEqual(6_000);
    expect(stats().requestsPerMinute).toBeLessThanOrEqual(6_200);
  });

  it('looks at the disk now and then, without waiting for it, also when that fails', async () => {
    const { state, stats } = rig();
    expect(stats().usageLog).toMatchObject({ bytes: 0, diskFreeBytes: null });
    await Promise.resolve();
    await Promise.resolve();
    expect(stats().usageLog).toMatchObject({
      bytes: 100,
      diskFreeBytes: 200,
      acknowledgedSeq: 7,
      oldestUnshippedMs: 12,
    });
    expect(state.diskLooks).toBe(1);
    state.nowMs = DISK_INTERVAL_MS;
    stats();
    expect(state.diskLooks).toBe(2);
    const broken = rig({ disk: () => Promise.reject(new Error('no disk')) });
    expect(broken.stats().usageLog.diskFreeBytes).toBeNull();
    await Promise.resolve();
  });

  it('has no age of a witness that was never there', () => {
    expect(rig().stats()).toMatchObject({ stalenessMs: null, keyCount: 3, openRequests: 4, eventLoopP99Ms: 1.23 });
    expect(rig({ stalenessMs: () => 5 }).stats().stalenessMs).toBe(5);
  });
});

describe('what it measures', () => {
  it('is the usage log and the room of its disk', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'disk-'));
    writeFileSync(join(dir, 'usage-0000000000000001.log'), Buffer.alloc(123));
    writeFileSync(join(dir, 'snapshot-1-1.snap'), Buffer.alloc(999));
    const { usageLogBytes, freeBytes } = await measureDisk(dir);
    expect(usageLogBytes).toBe(123);
    expect(freeBytes).toBeGreaterThan(0);
    rmSync(dir, { recursive: true });
  });

  it('is how long the event loop was held up', async () => {
    const eventLoop = watchEventLoop();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const end = performance.now() + 200;
    while (performance.now() < end) Math.sqrt(end);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(eventLoop.p99Ms(performance.now())).toBeGreaterThan(100);
    eventLoop.stop();
  });
});
