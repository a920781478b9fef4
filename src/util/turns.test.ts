import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Turns } from './turns.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('gives out as many turns as there are places, and the next ones in order', async () => {
  const turns = new Turns(2);
  const order: string[] = [];
  expect(await turns.take(1_000)).toBe(true);
  expect(await turns.take(1_000)).toBe(true);
  const third = turns.take(1_000).then((taken) => order.push(`third ${taken}`));
  const fourth = turns.take(1_000).then((taken) => order.push(`fourth ${taken}`));
  await vi.advanceTimersByTimeAsync(500);
  expect(order).toEqual([]);
  turns.give();
  await third;
  expect(order).toEqual(['third true']);
  turns.give();
  await fourth;
  expect(order).toEqual(['third true', 'fourth true']);
});

it('says no after the time, and a turn that was not waited for is free for the next', async () => {
  const turns = new Turns(1);
  await turns.take(0);
  const late = turns.take(1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await late).toBe(false);
  turns.give();
  expect(await turns.take(0)).toBe(true);
});
