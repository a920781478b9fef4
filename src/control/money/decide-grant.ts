/** A pot is filled to at most so many seconds of its process's spend, and so much of the budget; what calls wait for now comes first. */
export const GRANT_RATE_MS = 60_000;
export const GRANT_SHARE_DIVISOR = 20n;

export interface GrantWish {
  /** What waiting calls need now; 0 when it is asked for ahead. */
  readonly needNano: bigint;
  /** What the process would like to have more, `needNano` included. */
  readonly wantNano: bigint;
  /** Its spend rate, nano-dollars per minute. */
  readonly ratePerMinuteNano: bigint;
  /** With `offline_reserve`: the most it may hold, in place of the usual cap; 0 = none. */
  readonly offlineNano: bigint;
}

export interface LedgerState {
  readonly maxNano: bigint;
  readonly settledNano: bigint;
  readonly escrowNano: bigint;
}

export type Grant = { readonly nano: bigint } | { readonly refusal: 'spent' | 'short' };

/**
 * How much of a ledger a process gets. Halves of what is free, so that the end of a budget is fine-grained; never more than is free, whatever is
 * asked. The same arithmetic is in the SQL function `claviger.take_lease_ask`; a test holds the two together.
 */
export function decideGrant(
  { needNano, wantNano, ratePerMinuteNano, offlineNano }: GrantWish,
  { maxNano, settledNano, escrowNano }: LedgerState,
): Grant {
  const free = maxNano - settledNano - escrowNano;
  if (free <= 0n || free < needNano) return { refusal: settledNano >= maxNano ? 'spent' : 'short' };
  const share = maxNano / GRANT_SHARE_DIVISOR;
  const usual = ratePerMinuteNano < share ? ratePerMinuteNano : share;
  const cap = max(needNano, max(usual, offlineNano));
  const half = max(needNano, free / 2n);
  return { nano: min(min(wantNano, free), min(half, cap)) };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
