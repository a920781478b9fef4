/**
 * Full jitter: a random time between nothing and the bound, which doubles with each attempt up to `maxMs`. A thousand clients
 * that lost the same server do not come back together.
 */
export function backOffMs(attempt: number, minMs: number, maxMs: number, random: () => number): number {
  const boundMs = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * boundMs);
}
