/** A virtual key as its owner knows it. Times are of the wall clock. */
export interface RingKey {
  readonly key: string;
  /** The answer that brought it. */
  readonly madeAtMs: number;
  /** The first attempt to block or delete it was sent; null: never. From here on nobody can say whether it is valid. */
  revokingSinceMs: number | null;
  /** The answer that said so: it was committed before. */
  revokedAtMs: number | null;
}

/** Revoked keys that are still tried, newest first. */
const REVOKED_TRIED_MAX = 60;

/** The keys of a run, and which one a call takes. */
export class KeyRing {
  readonly valid: RingKey[] = [];
  readonly revoked: RingKey[] = [];
  #made = 0;

  get made(): number {
    return this.#made;
  }

  add(key: string, madeAtMs: number): RingKey {
    const made: RingKey = { key, madeAtMs, revokingSinceMs: null, revokedAtMs: null };
    this.valid.push(made);
    this.#made += 1;
    return made;
  }

  /** Takes a valid key out; null when fewer than `keep` would be left. */
  take(random: () => number, keep: number): RingKey | null {
    if (this.valid.length <= keep) return null;
    return this.valid.splice(Math.floor(random() * this.valid.length), 1)[0] ?? null;
  }

  revokedNow(key: RingKey, atMs: number): void {
    key.revokedAtMs = atMs;
    this.revoked.unshift(key);
  }

  /** Mostly a valid one, often the newest; now and then one that was revoked. */
  pick(random: () => number): RingKey | undefined {
    const which = random();
    if (which < 0.1 && this.revoked.length > 0)
      return this.revoked[Math.floor(random() * Math.min(REVOKED_TRIED_MAX, this.revoked.length))];
    if (which < 0.4) return this.valid.at(-1);
    return this.valid[Math.floor(random() * this.valid.length)];
  }
}
