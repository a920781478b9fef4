import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pick } from '../../../../tests/support/length.ts';
import { principalOf, tokenOf } from '../../../../tests/support/principals.ts';
import { type EntrySource, PackedKeyEntry, RecentKeys } from './recent-keys.ts';

const source: EntrySource = { spendAt: () => 0n, setSpendAt: () => {}, entryInUse: () => null };

function entryOf(name: number): PackedKeyEntry {
  const principal = principalOf(name);
  const entry = new PackedKeyEntry(source, principal);
  entry.hold(name, principal);
  return entry;
}

describe('RecentKeys', () => {
  it('holds no more than its bound, finds what it holds, and lets go of all the rest', () => {
    const step = fc.record({ do: fc.constantFrom('add', 'add', 'get', 'delete'), name: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), fc.integer({ min: 1, max: 8 }), (steps, max) => {
        const recent = new RecentKeys(max);
        const made = new Set<PackedKeyEntry>();
        const live = (): PackedKeyEntry[] => [...made].filter((entry) => entry.slot !== -1);
        for (const { do: what, name } of steps) {
          const known = recent.get(tokenOf(name));
          if (what === 'delete' && known !== undefined) recent.delete(known);
          if (what === 'add' && known === undefined) {
            const entry = entryOf(name);
            made.add(entry);
            recent.add(entry);
            expect(recent.get(tokenOf(name))).toBe(entry);
          }
          expect(live()).toHaveLength(recent.count);
          expect(recent.count).toBeLessThanOrEqual(max);
          for (const entry of live()) expect(recent.get(entry.token)).toBe(entry);
        }
        // Each has a place of its own: new ones fill what is free, pass by once for the second chance, and then drive out all of them.
        const before = live();
        for (let name = 100; name < 100 + 3 * max; name += 1) recent.add(entryOf(name));
        for (const entry of before) expect(recent.get(entry.token)).toBeUndefined();
      }),
      { numRuns: pick(50, 400) },
    );
  });

  it('keeps keys in use where many others pass by once', () => {
    const recent = new RecentKeys(10);
    const used = [1, 2, 3].map(entryOf);
    for (const entry of used) recent.add(entry);
    for (let name = 100; name < 1_000; name += 1) {
      for (const entry of used) expect(recent.get(entry.token)).toBe(entry);
      recent.add(entryOf(name));
    }
  });
});
