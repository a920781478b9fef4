/**
 * Who owns what, without talking about it: everybody gives each slot a score for a key, and the highest wins. When a slot goes away, what it
 * owned falls to the second highest and nothing else moves.
 */
export function ownerAndHeir(keyHash: number, slots: readonly number[]): { owner: number; heir: number | null } {
  let owner = slots[0]!;
  let heir: number | null = null;
  let best = scoreOf(keyHash, owner);
  let second = -1;
  for (let index = 1; index < slots.length; index++) {
    const slot = slots[index]!;
    const score = scoreOf(keyHash, slot);
    if (score > best) {
      heir = owner;
      second = best;
      owner = slot;
      best = score;
    } else if (score > second) {
      heir = slot;
      second = score;
    }
  }
  return { owner, heir };
}

/** FNV-1a; the same in every process. */
export function hashOfKey(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

function scoreOf(keyHash: number, slot: number): number {
  let mixed = keyHash ^ Math.imul(slot + 1, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
