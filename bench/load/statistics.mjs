/** Middle value; the mean of the two middle ones when there is an even number. NaN for nothing. */
export function median(values) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value that a share `p` (0 to 1) of the sorted values does not exceed. */
export function percentile(sorted, p) {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))];
}

/**
 * Median of `a/b` over the rounds in which both were measured. Rounds that other work on the machine disturbed are left
 * out as long as three others remain.
 */
export function pairedRatio(a, b, value) {
  const pairs = a.map((sample, round) => [sample, b[round]]).filter(([x, y]) => x !== undefined && y !== undefined);
  const clean = pairs.filter(([x, y]) => !x.disturbed && !y.disturbed);
  const used = clean.length >= CLEAN_MIN ? clean : pairs;
  return { ratio: median(used.map(([x, y]) => value(x) / value(y))), pairs: used.length };
}

/** The samples that count: undisturbed ones when there are three, else all. */
export function countable(samples) {
  const clean = samples.filter((sample) => sample !== undefined && !sample.disturbed);
  return clean.length >= CLEAN_MIN ? clean : samples.filter((sample) => sample !== undefined);
}

const CLEAN_MIN = 3;
