import { expect, it } from 'vitest';
import { COUNTER_WINDOW, CounterWindow } from './counter-window.ts';

it('takes each counter once, in whatever order they come, and none that is too old', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = randomFrom(seed);
    const window = new CounterWindow();
    const used = new Set<number>();
    let newest = 0;
    for (let count = 0; count < 500; count++) {
      // Now and then far ahead, mostly around the newest.
      const step =
        random() < 0.02 ? Math.floor(random() * 500) : Math.floor(random() * 2 * COUNTER_WINDOW) - COUNTER_WINDOW;
      const counter = Math.max(1, newest + step);
      const isNew = !used.has(counter) && counter > newest - COUNTER_WINDOW;
      expect(window.isNew(counter), `seed ${seed}, counter ${counter}, newest ${newest}`).toBe(isNew);
      // Asking changes nothing.
      expect(window.isNew(counter)).toBe(isNew);
      expect(window.use(counter)).toBe(isNew);
      expect(window.use(counter)).toBe(false);
      if (isNew) {
        used.add(counter);
        newest = Math.max(newest, counter);
      }
    }
  }
});

/** The same numbers for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}
