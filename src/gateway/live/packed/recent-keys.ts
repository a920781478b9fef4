import type { KeyDigest, Principal } from '../../../domain/virtual-key.ts';
import type { KeyEntry } from '../knowledge.ts';
import { NOT_FOUND } from './growing-index.ts';

/** Keys whose entries are held as objects, at about 1 KB each. At the bound one that was not asked for lately makes room. */
export const RECENT_KEYS_MAX = 4_096;

/** Where an entry finds its record. */
export interface EntrySource {
  spendAt(slot: number): bigint;
  setSpendAt(slot: number, spendNano: bigint): void;
  /** The entry that stands for this key now, which may be the same one, held again; null when there is no such key any more. */
  entryInUse(entry: PackedKeyEntry): PackedKeyEntry | null;
}

/**
 * A key as an object. The record is the truth about its spend, so nothing has to be written back. An entry that had to make room, and is still
 * in the hands of a request, finds its record again when it is asked for anything.
 */
export class PackedKeyEntry implements KeyEntry {
  series: Map<string, unknown> | null = null;
  /** Asked for again since room was last looked for: keys that are used once go before those in use. */
  wasUsed = false;
  /** Number of the record; `NOT_FOUND` while the entry is not among the recent ones. */
  slot = NOT_FOUND;
  /** Place among the recent ones. */
  place = 0;
  readonly #source: EntrySource;
  #principal: Principal;
  /** Spend of a key that is gone, for requests that outlive it. */
  #lastSpendNano = 0n;

  constructor(source: EntrySource, principal: Principal) {
    this.#source = source;
    this.#principal = principal;
  }

  get token(): KeyDigest {
    return this.#principal.token;
  }

  get principal(): Principal {
    if (this.slot !== NOT_FOUND) return this.#principal;
    return this.#inUse()?.principal ?? this.#principal;
  }

  get spendNano(): bigint {
    if (this.slot !== NOT_FOUND) return this.#source.spendAt(this.slot);
    return this.#inUse()?.spendNano ?? this.#lastSpendNano;
  }

  set spendNano(spendNano: bigint) {
    if (this.slot !== NOT_FOUND) {
      this.#source.setSpendAt(this.slot, spendNano);
      return;
    }
    const inUse = this.#inUse();
    if (inUse === null) this.#lastSpendNano = spendNano;
    else inUse.spendNano = spendNano;
  }

  hold(slot: number, principal: Principal): void {
    this.slot = slot;
    this.#principal = principal;
  }

  /** The record is about to go. */
  outlive(): void {
    this.#lastSpendNano = this.spendNano;
    this.slot = NOT_FOUND;
  }

  #inUse(): PackedKeyEntry | null {
    return this.#source.entryInUse(this);
  }
}

/** Places that a key may have. More would take longer to look through, fewer would be crowded sooner. */
const WAYS_MAX = 8;

/**
 * Entries by digest, at most so many. Each digest has a few places; where they are all taken, the entry that was not asked for again since the
 * hand last passed makes room. A `Map` would do the same, but each time it cleans up after so many deletions the array that it leaves
 * behind keeps thousands of dead entries alive until the next full garbage collection.
 */
export class RecentKeys {
  readonly #ways: number;
  readonly #setMask: number;
  /** By place; the digest's own first 32 bits, so that hardly any digest is compared in vain. */
  readonly #hashes: Uint32Array;
  readonly #entries: (PackedKeyEntry | null)[];
  /** By set: the way that is asked next to make room. */
  readonly #hands: Uint8Array;
  #count = 0;

  /** `max` is rounded down to eight times a power of two; below eight there is one set of so many places. */
  constructor(max: number = RECENT_KEYS_MAX) {
    this.#ways = Math.min(WAYS_MAX, max);
    const sets = 2 ** Math.floor(Math.log2(max / this.#ways));
    this.#setMask = sets - 1;
    this.#hashes = new Uint32Array(sets * this.#ways);
    this.#entries = new Array<PackedKeyEntry | null>(sets * this.#ways).fill(null);
    this.#hands = new Uint8Array(sets);
  }

  get count(): number {
    return this.#count;
  }

  get(digest: KeyDigest): PackedKeyEntry | undefined {
    const hash = hashOf(digest);
    const first = (hash & this.#setMask) * this.#ways;
    for (let place = first; place < first + this.#ways; place += 1) {
      if (this.#hashes[place] !== hash) continue;
      const entry = this.#entries[place]!;
      if (entry === null || entry.token !== digest) continue;
      entry.wasUsed = true;
      return entry;
    }
    return undefined;
  }

  /** For a key that has no entry here. */
  add(entry: PackedKeyEntry): void {
    const hash = hashOf(entry.token);
    const place = this.#roomIn(hash & this.#setMask);
    this.#hashes[place] = hash;
    this.#entries[place] = entry;
    entry.place = place;
    this.#count += 1;
  }

  delete(entry: PackedKeyEntry): void {
    this.#entries[entry.place] = null;
    this.#count -= 1;
    entry.outlive();
  }

  clear(): void {
    for (const entry of this.#entries) if (entry !== null) this.delete(entry);
  }

  #roomIn(set: number): number {
    const first = set * this.#ways;
    for (let place = first; place < first + this.#ways; place += 1) if (this.#entries[place] === null) return place;
    let place = first + this.#hands[set]!;
    for (; this.#entries[place]!.wasUsed; place = first + this.#hands[set]!) {
      this.#entries[place]!.wasUsed = false;
      this.#passHand(set);
    }
    this.#passHand(set);
    this.#entries[place]!.slot = NOT_FOUND;
    this.#count -= 1;
    return place;
  }

  #passHand(set: number): void {
    this.#hands[set] = (this.#hands[set]! + 1) % this.#ways;
  }
}

/** Of a hex digest: its first 32 bits. */
function hashOf(digest: string): number {
  let hash = 0;
  for (let index = 0; index < 8; index += 1) {
    const code = digest.charCodeAt(index);
    hash = (hash << 4) | ((code & 15) + 9 * (code >> 6));
  }
  return hash >>> 0;
}
