import type { Account, AccountKind } from './account.ts';
import type { StoredModel } from './stored-model.ts';
import type { JsonValue, Principal } from './virtual-key.ts';

/** Number of a committed configuration change. `(epoch, rev)` orders history. */
export type Revision = number;

/** Guarded: models, routes, prices, settings. Fast: principals, denials, budgets. */
export type Lane = 'fast' | 'guarded';

/** Where a gateway process stands, or should stand. */
export interface Position {
  /** The installation that this history belongs to; another one is never mixed in. */
  readonly installation: string;
  readonly epoch: number;
  readonly rev: Revision;
}

/**
 * One committed change as the feed carries it. `value` null = deleted (kept as a denial: a deleted key is known to be
 * deleted, not unknown).
 */
export type Change =
  | { readonly rev: Revision; readonly kind: 'key'; readonly id: string; readonly value: Principal | null }
  | AccountChange
  | { readonly rev: Revision; readonly kind: 'model'; readonly id: string; readonly value: StoredModel | null }
  | { readonly rev: Revision; readonly kind: 'setting'; readonly id: string; readonly value: JsonValue };

/** `value` null: deleted, or nothing is left in it that gateway processes have to know (`account-in-feed.ts`). */
export interface AccountChange {
  readonly rev: Revision;
  readonly kind: AccountKind;
  readonly id: string;
  readonly value: Account | null;
}

/** Ids of settings that travel in the feed. */
export const SETTING_FLEET_KEY = 'fleet_key';
