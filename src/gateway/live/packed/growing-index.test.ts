import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pick } from '../../../../tests/support/length.ts';
import { GrowingIndex, NOT_FOUND } from './growing-index.ts';

/** Things that are numbers to the index, each with a hash; looked for by their name. */
class Things {
  readonly names = new Map<number, number>();
  readonly index: GrowingIndex;
  readonly #hashOfName: (name: number) => number;
  #sought = NOT_FOUND;

  constructor(hashOfName: (name: number) => number) {
    this.#hashOfName = hashOfName;
    this.index = new GrowingIndex(this);
  }

  hashOf(value: number): number {
    return this.#hashOfName(this.names.get(value)!);
  }

  isSought(value: number): boolean {
    return this.names.get(value) === this.#sought;
  }

  find(name: number): number {
    this.#sought = name;
    return this.index.find(this.#hashOfName(name));
  }

  add(name: number): void {
    const value = this.names.size;
    this.names.set(value, name);
    this.index.insert(this.#hashOfName(name), value);
  }

  /** As a table without holes does it: the last one gets the number that is free. */
  remove(value: number): void {
    const last = this.names.size - 1;
    this.index.remove(this.hashOf(value), value);
    if (value !== last) {
      this.index.renumber(this.hashOf(last), last, value);
      this.names.set(value, this.names.get(last)!);
    }
    this.names.delete(last);
  }
}

const scattered = (name: number): number => Math.imul(name + 1, 0x9e3779b1) >>> 0;
/** Everything wants one of three places, two of them at the end of any table. */
const colliding = (name: number): number => [0xffffffff, 0xfffffffe, 5][name % 3]!;

describe('GrowingIndex', () => {
  it('finds what is in it and nothing else, in the middle of growing too', () => {
    let growing = 0;
    const burst = fc.record({ adds: fc.nat(120), removals: fc.array(fc.nat(), { maxLength: 80, size: 'max' }) });
    fc.assert(
      fc.property(
        fc.constantFrom(scattered, colliding),
        fc.array(burst, { minLength: 1, maxLength: 8, size: 'max' }),
        (hashOfName, bursts) => {
          const things = new Things(hashOfName);
          let next = 0;
          for (const { adds, removals } of bursts) {
            for (let count = 0; count < adds; count += 1) things.add(next++);
            if (things.index.isGrowing) growing += 1;
            for (const place of removals) if (things.names.size > 0) things.remove(place % things.names.size);
            const known = new Map(Array.from(things.names, ([value, name]) => [name, value]));
            for (let name = 0; name < next + 3; name += 1) expect(things.find(name)).toBe(known.get(name) ?? NOT_FOUND);
            expect(things.index.count).toBe(known.size);
          }
        },
      ),
      { numRuns: pick(60, 400) },
    );
    expect(growing).toBeGreaterThan(0);
  });

  it('moves no more than a few numbers in one call', () => {
    let moved = 0;
    const index = new GrowingIndex({
      hashOf: (value) => {
        moved += 1;
        return scattered(value);
      },
      isSought: () => false,
    });
    let most = 0;
    for (let value = 0; value < 50_000; value += 1) {
      moved = 0;
      index.insert(scattered(value), value);
      most = Math.max(most, moved);
    }
    expect(most).toBeLessThanOrEqual(32);
    expect(most).toBeGreaterThan(10);
  });
});
