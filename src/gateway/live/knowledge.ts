import type { Account, AccountKind } from '../../domain/account.ts';
import type { Position } from '../../domain/change.ts';
import type { Configuration } from '../../domain/configuration.ts';
import type { FenceTimes } from '../../domain/fence.ts';
import type { FenceClass, KeyDigest, Principal } from '../../domain/virtual-key.ts';

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
  /** One look-up. Undefined: there is none, and nothing is forbidden by it. */
  account(kind: AccountKind, id: string): Account | undefined;
  /** Another number after each change of an account. */
  readonly accountsVersion: number;
  /** Secret of the check in generated keys (32 bytes), or null before the first snapshot. */
  readonly fleetKey: Buffer | null;
  /** Milliseconds since the database was last read with what is known here; Infinity when never in this process. Says whether a key may be new. */
  ageMs(): number;
  /** Age of the fence's witness, over restarts; Infinity when there is none. Says whether a key may still be admitted. */
  stalenessMs(fence: FenceClass): number;
  readonly fences: FenceTimes;
  readonly configuration: Configuration;
}
