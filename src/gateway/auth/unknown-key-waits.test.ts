import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  UNKNOWN_KEY_WAIT_MS,
  UnknownKeyWaits,
  WAITS_MAX,
  WAITS_PER_ADDRESS_MAX,
  type WaitOutcome,
} from './unknown-key-waits.ts';

const unknown = () => false;

describe('a request with a key that may be new', () => {
  let nowMs = 0;
  let asked = 0;
  let waits: UnknownKeyWaits;
  beforeEach(() => {
    vi.useFakeTimers();
    nowMs = 1_000;
    asked = 0;
    waits = new UnknownKeyWaits({ nowMs: () => nowMs, askNow: () => asked++ });
  });
  afterEach(() => vi.useRealTimers());

  /** What it ended with so far. */
  function watch(wait: Promise<WaitOutcome> | null): () => WaitOutcome | null {
    let outcome: WaitOutcome | null = null;
    void wait!.then((value) => {
      outcome = value;
    });
    return () => outcome;
  }

  it('waits until knowledge is newer than it, and has the database asked', async () => {
    const outcome = watch(waits.begin('a', unknown));
    expect(asked).toBe(1);
    waits.dated(999);
    await vi.advanceTimersByTimeAsync(0);
    expect(outcome()).toBeNull();
    // Whoever still waits needs another answer.
    expect(asked).toBe(2);
    waits.dated(1_000);
    await vi.advanceTimersByTimeAsync(0);
    expect(outcome()).toBe('confirmed');
    expect(asked).toBe(2);
    expect(waits.size).toBe(0);
  });

  it('waits no longer than its bound', async () => {
    const outcome = watch(waits.begin('a', unknown));
    await vi.advanceTimersByTimeAsync(UNKNOWN_KEY_WAIT_MS - 1);
    expect(outcome()).toBeNull();
    await vi.advanceTimersByTimeAsync(1);
    expect(outcome()).toBe('not in time');
    expect(waits.size).toBe(0);
  });

  it('goes on as soon as the key has come, whatever is confirmed', async () => {
    let known = false;
    const outcome = watch(waits.begin('a', () => known));
    waits.dated(0);
    known = true;
    waits.dated(0);
    await vi.advanceTimersByTimeAsync(0);
    expect(outcome()).toBe('confirmed');
  });

  it('shares one answer with all that came before it, and leaves those that came after it', async () => {
    const outcomes = [1_000, 1_001, 1_002].map((atMs) => {
      nowMs = atMs;
      return watch(waits.begin('a', unknown));
    });
    waits.dated(1_001);
    await vi.advanceTimersByTimeAsync(0);
    expect(outcomes.map((outcome) => outcome())).toEqual(['confirmed', 'confirmed', null]);
  });

  it('does not wait when too many of its address do, or too many in all', async () => {
    for (let count = 0; count < WAITS_PER_ADDRESS_MAX; count++) expect(waits.begin('a', unknown)).not.toBeNull();
    expect(waits.begin('a', unknown)).toBeNull();
    const askedBefore = asked;
    expect(waits.begin('b', unknown)).not.toBeNull();
    expect(asked).toBe(askedBefore + 1);
    for (let count = waits.size; count < WAITS_MAX; count++)
      expect(waits.begin(`other-${count}`, unknown)).not.toBeNull();
    expect(waits.begin('c', unknown)).toBeNull();
    waits.dated(nowMs);
    await vi.advanceTimersByTimeAsync(0);
    expect(waits.size).toBe(0);
    expect(waits.begin('a', unknown)).not.toBeNull();
  });
});
