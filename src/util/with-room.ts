/**
 * A buffer that holds what `bytes` holds up to `length` and has room for `more` bytes behind it: the same one if it fits, else a
 * copy of at least twice the size, so that growing byte by byte costs no more than twice the end.
 */
export function withRoom(bytes: Buffer, length: number, more: number): Buffer {
  const needed = length + more;
  if (needed <= bytes.length) return bytes;
  const grown = Buffer.allocUnsafe(Math.max(needed, bytes.length * 2));
  bytes.copy(grown, 0, 0, length);
  return grown;
}
