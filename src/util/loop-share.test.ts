import { describe, expect, it } from 'vitest';
import { LOOP_SHARE_MS, LoopShare } from './loop-share.ts';

/** An event loop whose turns are made by the test, and whose work takes as long as the test says. */
class Loop {
  nowMs = 0;
  readonly done: string[] = [];
  readonly #turns: (() => void)[] = [];
  readonly share = new LoopShare(
    () => this.nowMs,
    (run) => this.#turns.push(run),
  );

  run(name: string, tookMs: number): void {
    void this.share.run(() => {
      this.nowMs += tookMs;
      this.done.push(name);
    });
  }

  turn(name: string): void {
    void this.share.turn().then(() => this.done.push(name));
  }

  /** What was done in the next turn of the loop. */
  async next(): Promise<string> {
    this.done.length = 0;
    this.#turns.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
    return this.done.join(' ');
  }

  get idle(): boolean {
    return this.#turns.length === 0;
  }
}

describe('a share of the event loop', () => {
  it('is taken at once while it lasts, and the rest waits for the next turns, in order', async () => {
    const loop = new Loop();
    loop.run('a', LOOP_SHARE_MS - 1);
    loop.run('b', 1);
    for (const name of ['c', 'd', 'e']) loop.run(name, LOOP_SHARE_MS / 2);
    expect(loop.done.join(' ')).toBe('a b');
    expect(await loop.next()).toBe('c d');
    expect(await loop.next()).toBe('e');
    expect(await loop.next()).toBe('');
    expect(loop.idle).toBe(true);
    loop.run('f', 1);
    expect(loop.done.join(' ')).toBe('f');
  });

  it('is had alone by work of unknown length, behind what is short', async () => {
    const loop = new Loop();
    loop.turn('long 1');
    loop.turn('long 2');
    loop.run('short 1', 1);
    loop.turn('long 3');
    expect(loop.done).toEqual([]);
    await Promise.resolve();
    expect(loop.done).toEqual(['long 1']);
    expect(await loop.next()).toBe('short 1');
    expect(await loop.next()).toBe('long 2');
    expect(await loop.next()).toBe('long 3');
    expect(await loop.next()).toBe('');
    expect(loop.idle).toBe(true);
  });

  it('goes on when work fails, and tells who handed it in', async () => {
    const loop = new Loop();
    loop.run('a', LOOP_SHARE_MS);
    const failed = expect(
      loop.share.run(() => {
        throw new Error('this one');
      }),
    ).rejects.toThrow('this one');
    loop.run('b', 1);
    expect(await loop.next()).toBe('b');
    await failed;
  });
});
