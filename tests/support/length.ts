/** True in the long run (`npm test -- --long`): more seeds, kills and chunkings of the same guarantees. */
export const isLong: boolean = process.env.CLAVIGER_TEST_LENGTH === 'long';

/** The value for the length of this run, for example `fc.assert(property, { numRuns: pick(100, 5_000) })`. */
export function pick<T>(short: T, long: T): T {
  return isLong ? long : short;
}
