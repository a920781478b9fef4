import type { Position } from '../../domain/change.ts';
import type { Configuration } from '../../domain/configuration.ts';
import type { KeyDigest, Principal } from '../../domain/virtual-key.ts';

/** A key in memory. `spendNano` is what the database last said plus what this process settled since. */
export interface KeyEntry {
  readonly principal: Principal;
  spendNano: bigint;
  /** Scratch space of the metrics: series of this key by deployment id, made on first use. */
  series: Map<string, unknown> | null;
}

/** What a gateway process knows, and how old that is. Everything here is synchronous and in memory. */
export interface Knowledge {
  /** Null until the first usable snapshot (from disk or from the feed): then nothing can be answered but 503. */
  readonly position: Position | null;
  /** One look-up. Undefined = not known. */
  key(digest: KeyDigest): KeyEntry | undefined;
  /** True for a key deleted within the last 30 days. */
  isDeleted(digest: KeyDigest): boolean;
  /** Secret of the check in generated keys (32 bytes), or null before the first snapshot. */
  readonly fleetKey: Buffer | null;
  /** Milliseconds since this knowledge was last confirmed by the database; Infinity when never in this process. */
  ageMs(): number;
  readonly configuration: Configuration;
}
