import { describe, expect, it } from 'vitest';
import type { LimitedSubject } from '../../src/gateway/limits/limited-subject.ts';
import { seededRandom } from '../chaos/seeded-random.ts';
import { LimitsWorld } from './limits-world.ts';

const WINDOW_SECONDS = 5;
const RPM = 60;
const PARALLEL = 4;
const ONE_TOKEN = { tokens: 1, bounded: true };
const SEEDS = Number(process.env['CLAVIGER_LIMIT_SEEDS'] ?? 40);

const subjects: readonly LimitedSubject[] = ['a', 'b', 'c'].map((id) => ({
  descriptor: 'api_key',
  id,
  rpm: RPM,
  tpm: null,
  maxParallelRequests: null,
  type: 'best_effort_throughput',
  scope: 'region',
}));

const slotted: readonly LimitedSubject[] = subjects.map((subject) => ({
  ...subject,
  rpm: null,
  maxParallelRequests: PARALLEL,
}));

/** The largest number of calls of one subject in any window, whenever it begins. */
function busiestWindow(world: LimitsWorld, id: string): number {
  const times = world.admitted.filter(({ subject }) => subject.id === id).map(({ atMs }) => atMs);
  let busiest = 0;
  let first = 0;
  for (const [index, atMs] of times.entries()) {
    while (times[first]! <= atMs - WINDOW_SECONDS * 1_000) first++;
    busiest = Math.max(busiest, index - first + 1);
  }
  return busiest;
}

/** Calls at random processes, more than the limits allow, some of them in bursts. */
function load(world: LimitsWorld, random: () => number, untilMs: number, chosen = subjects): void {
  const next = (): void => {
    if (world.queue.nowMs >= untilMs) return;
    const burst = random() < 0.05 ? 30 : 1;
    for (let call = 0; call < burst; call++) {
      const slots = world.slots;
      const slot = slots[Math.floor(random() * slots.length)];
      const subject = chosen[Math.floor(random() * chosen.length)]!;
      if (slot !== undefined) world.call(slot, [subject], ONE_TOKEN, random() * 400, 1);
    }
    world.queue.after(random() * 20, next);
  };
  world.queue.after(50, next);
}

describe('gateway processes of one instance', () => {
  it('admit together what the limit says in any window, while processes come and leave', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const world = new LimitsWorld(random, WINDOW_SECONDS);
      world.queue.nowMs = 1_000_000 + random() * 1_000;
      const beganMs = world.queue.nowMs;
      for (let slot = 0; slot < 3; slot++) world.start(slot);
      world.queue.after(7_000, () => world.leave(1));
      world.queue.after(9_000 + random() * 3_000, () => world.start(1));
      world.queue.after(14_000, () => world.start(3));
      world.queue.after(16_000, () => world.leave(0));
      load(world, random, beganMs + 25_000);
      world.queue.runUntil(beganMs + 26_000);
      for (const { id } of subjects) {
        expect(busiestWindow(world, id), `seed ${seed}, ${id}`).toBeLessThanOrEqual(RPM);
        expect(busiestWindow(world, id), `seed ${seed}, ${id}`).toBeGreaterThanOrEqual(RPM * 0.9);
      }
      expect(world.refused).toBeGreaterThan(100);
    }
  });

  it('give a single caller the whole limit, whichever processes its calls reach', () => {
    const random = seededRandom(7);
    const world = new LimitsWorld(random, WINDOW_SECONDS);
    world.queue.nowMs = 1_000_000;
    for (let slot = 0; slot < 2; slot++) world.start(slot);
    for (let call = 0; call < 400; call++)
      world.queue.after(50 + call * 11, () => world.call(call % 2, [subjects[0]!], ONE_TOKEN, 1, 1));
    world.queue.runUntil(1_000_000 + 4_900);
    expect(world.admitted).toHaveLength(RPM);
  });

  it('forget after a crash at most what the owner counted since it last told its successor', () => {
    let forgotten = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const world = new LimitsWorld(random, WINDOW_SECONDS);
      world.queue.nowMs = 1_000_000 + random() * 1_000;
      const beganMs = world.queue.nowMs;
      for (let slot = 0; slot < 3; slot++) world.start(slot);
      const crashMs = 4_000 + random() * 2_000;
      world.queue.after(crashMs, () => world.crash(Math.floor(random() * 3)));
      load(world, random, beganMs + 15_000);
      world.queue.runUntil(beganMs + 16_000);
      for (const { id } of subjects) {
        const gap = world.forgotten.get(`api_key|requests|${id}`) ?? 0;
        forgotten = Math.max(forgotten, gap);
        expect(busiestWindow(world, id), `seed ${seed}, ${id}`).toBeLessThanOrEqual(RPM + gap);
        const recent = world.attemptsAtMs.filter((atMs) => atMs > beganMs + crashMs - 300 && atMs <= beganMs + crashMs);
        expect(gap).toBeLessThanOrEqual(recent.length);
      }
    }
    // Otherwise the crashes came when there was nothing to forget, and this test said nothing.
    expect(forgotten).toBeGreaterThan(0);
  });

  it('never have more calls under way than there are slots, while a process joins', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const world = new LimitsWorld(random, WINDOW_SECONDS);
      world.queue.nowMs = 1_000_000;
      for (let slot = 0; slot < 2; slot++) world.start(slot);
      world.queue.after(1_000 + random() * 500, () => world.start(2));
      load(world, random, 1_003_000, slotted);
      const most = new Map<string, number>();
      for (let atMs = 1_000_000; atMs < 1_004_000; atMs += 5) {
        world.queue.runUntil(atMs);
        for (const { id } of slotted) most.set(id, Math.max(most.get(id) ?? 0, world.openCalls(id)));
      }
      for (const { id } of slotted) expect(most.get(id), `seed ${seed}, ${id}`).toBe(PARALLEL);
      expect(world.openCalls()).toBe(0);
    }
  });

  it('free the slots of a process that crashed: all of them can be used again, at any other process', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const world = new LimitsWorld(random, WINDOW_SECONDS);
      world.queue.nowMs = 1_000_000;
      for (let slot = 0; slot < 3; slot++) world.start(slot);
      load(world, random, 1_002_000, slotted);
      world.queue.runUntil(1_001_900);
      expect(world.openCalls()).toBeGreaterThan(slotted.length);
      world.crash(seed % 3);
      world.queue.runUntil(1_004_000);
      expect(world.openCalls()).toBe(0);
      for (const subject of slotted)
        for (let call = 0; call < 12; call++)
          world.queue.after(call * 50, () => world.call((seed + 1) % 3, [subject], ONE_TOKEN, 5_000, 1));
      world.queue.runUntil(1_005_000);
      for (const { id } of slotted) expect(world.openCalls(id), `seed ${seed}, ${id}`).toBe(PARALLEL);
    }
  });
});
