import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LimitedSubject } from '../../src/gateway/limits/limited-subject.ts';
import { MeterBook } from '../../src/gateway/limits/meter-book.ts';
import { Permit } from '../../src/gateway/limits/permit.ts';
import { RateLimits } from '../../src/gateway/limits/rate-limits.ts';
import { RegionTokens } from '../../src/gateway/limits/region/region-tokens.ts';
import { connectToRedis } from '../../src/process/redis-connection.ts';
import { canStartRedis, type RedisServer, startRedis } from '../support/redis-server.ts';
import { silentLog } from '../support/silent-log.ts';
import { until } from '../support/until.ts';

const hasRedis = canStartRedis();
const WINDOW_SECONDS = 2;
const RPM = 40;

let redis: RedisServer;
let instances: Awaited<ReturnType<typeof startInstance>>[] = [];
let admittedAtMs: number[] = [];

async function startInstance(instanceId: string) {
  const setTimer = (callback: () => void, delayMs: number) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  };
  const book = new MeterBook(WINDOW_SECONDS);
  const monotonicMs = () => performance.now();
  const connection = connectToRedis(
    { url: redis.url, host: '', port: 0, username: null, password: null, database: null, tls: false },
    silentLog,
  );
  const region = new RegionTokens({
    run: connection.run,
    region: 'test',
    instanceId,
    processId: `${instanceId}/0/1`,
    windowSeconds: WINDOW_SECONDS,
    monotonicMs,
    setTimer,
    liveInstances: () => 1,
    onTrustChanged: () => limits.lendersChanged(false),
    log: silentLog,
  });
  const limits: RateLimits = new RateLimits({ book, monotonicMs, instance: null, region, regions: () => 1, setTimer });
  await region.start();
  const ticking = setInterval(() => limits.tick(), 100);
  return {
    limits,
    region,
    async stop() {
      clearInterval(ticking);
      await region.stop();
      connection.close();
    },
  };
}

const limited = (fields: Partial<LimitedSubject> = {}): LimitedSubject[] => [
  {
    descriptor: 'api_key',
    id: `key-${Math.random()}`,
    rpm: RPM,
    tpm: null,
    maxParallelRequests: null,
    type: 'best_effort_throughput',
    scope: 'region',
    ...fields,
  },
];

async function admit(at: number, subjects: LimitedSubject[]): Promise<Permit | null> {
  const { limits } = instances[at % instances.length]!;
  const decision = await new Promise((resolve) => {
    const known = limits.admit(subjects, { tokens: 1, bounded: true }, false, resolve);
    if (known !== null) resolve(known);
  });
  if (!(decision instanceof Permit)) return null;
  admittedAtMs.push(performance.now());
  return decision;
}

/** Calls at both instances in turn, more than are allowed. */
async function load(subjects: LimitedSubject[], lastsMs: number, which?: number): Promise<void> {
  const endMs = performance.now() + lastsMs;
  for (let call = 0; performance.now() < endMs; call++) {
    await admit(which ?? call, subjects);
    await delay(4);
  }
}

function busiestWindow(): number {
  let first = 0;
  let busiest = 0;
  for (const [index, atMs] of admittedAtMs.entries()) {
    while (admittedAtMs[first]! <= atMs - WINDOW_SECONDS * 1_000) first++;
    busiest = Math.max(busiest, index - first + 1);
  }
  return busiest;
}

const trusted = () =>
  until('both trust Redis', () => (instances.every(({ region }) => region.trusted) ? true : null), 15_000);
const distrusted = () =>
  until('both do without Redis', () => (instances.some(({ region }) => region.trusted) ? null : true), 15_000);

describe.runIf(hasRedis)('two instances of a region with a Redis', () => {
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.stop());
  beforeEach(async () => {
    admittedAtMs = [];
    instances = [await startInstance('one'), await startInstance('two')];
    await trusted();
  });
  afterEach(() => Promise.all(instances.splice(0).map((instance) => instance.stop())));

  it('admit together what the limit says, and give a single caller at one of them all of it', async () => {
    const subjects = limited();
    await load(subjects, 6_000);
    expect(busiestWindow()).toBeLessThanOrEqual(RPM);
    expect(busiestWindow()).toBeGreaterThanOrEqual(RPM * 0.9);
    admittedAtMs = [];
    await load(limited(), WINDOW_SECONDS * 1_000 - 200, 1);
    expect(admittedAtMs).toHaveLength(RPM);
  });

  it('give back what was reserved and not used', async () => {
    const subjects = limited({ rpm: null, tpm: 100 });
    const estimate = { tokens: 100, bounded: true };
    const { limits } = instances[0]!;
    const permit = await new Promise<Permit>((resolve) => {
      const known = limits.admit(subjects, estimate, false, (late) => resolve(late as Permit));
      if (known !== null) resolve(known as Permit);
    });
    expect(permit).toBeInstanceOf(Permit);
    expect(await admit(1, subjects)).toBeNull();
    limits.settle(permit, 40);
    await until('what was not used is there again', () => admit(1, subjects), 1_000);
  });

  it('share parallel slots', async () => {
    const subjects = limited({ rpm: null, maxParallelRequests: 3 });
    const permits = [];
    for (let call = 0; call < 12; call++) permits.push(await admit(call, subjects));
    const held = permits.flatMap((permit, call) => (permit === null ? [] : [{ permit, at: call % 2 }]));
    expect(held).toHaveLength(3);
    for (const { permit, at } of held) instances[at]!.limits.settle(permit, 0);
    for (let round = 0; round < 3; round++) {
      const permit = await until('a slot is free', () => admit(1, subjects), 2_000);
      instances[1]!.limits.settle(permit, 0);
    }
  });

  it('do not admit more when Redis is frozen, and share again when it answers', async () => {
    const subjects = limited();
    await load(subjects, 2_500);
    redis.freeze();
    try {
      await load(subjects, 4_000);
      await distrusted();
    } finally {
      redis.thaw();
    }
    await load(subjects, 4_000);
    expect(busiestWindow()).toBeLessThanOrEqual(RPM);
    // It was never away for the callers.
    expect(admittedAtMs.length).toBeGreaterThan(RPM * 2);
    await trusted();
  });

  it('do not admit more when Redis is emptied', async () => {
    const subjects = limited();
    await load(subjects, 1_500);
    await redis.flush();
    await load(subjects, 5_000);
    expect(busiestWindow()).toBeLessThanOrEqual(RPM);
    expect(admittedAtMs.length).toBeGreaterThan(RPM * 2);
    await trusted();
  });

  it('do not admit more when Redis is killed and comes back empty', async () => {
    const subjects = limited();
    await load(subjects, 1_500);
    await redis.kill();
    await load(subjects, 3_000);
    await distrusted();
    await redis.startAgain();
    await load(subjects, 5_000);
    expect(busiestWindow()).toBeLessThanOrEqual(RPM);
    expect(admittedAtMs.length).toBeGreaterThan(RPM * 2);
    await trusted();
  });
});
