import type { CheckedSet } from './reported-stats.ts';

/**
 * Gateway processes that hold other keys than the rest at the same revision: a mistake of ours, or somebody changed their memory or disk. Where most
 * agree the others have drifted; where no hash has a majority, all of them are suspicious. Returns their indexes.
 */
export function drifted(checked: readonly (CheckedSet | null)[]): Set<number> {
  const byPosition = new Map<string, Map<string, number[]>>();
  checked.forEach((set, index) => {
    if (set === null) return;
    const position = `${set.epoch}/${set.rev}`;
    const byHash = byPosition.get(position) ?? new Map<string, number[]>();
    byPosition.set(position, byHash.set(set.setHash, [...(byHash.get(set.setHash) ?? []), index]));
  });
  const result = new Set<number>();
  for (const byHash of byPosition.values()) {
    if (byHash.size < 2) continue;
    const groups = [...byHash.values()].sort((a, b) => b.length - a.length);
    const trusted = groups[0]!.length > groups[1]!.length ? groups[0] : undefined;
    for (const group of groups) if (group !== trusted) for (const index of group) result.add(index);
  }
  return result;
}
