import { crc32 as zlibCrc32 } from 'node:zlib';

/** CRC-32 (ISO 3309, as in zip and gzip) as an unsigned number; `seed` continues an earlier result. */
export function crc32(data: Uint8Array | string, seed = 0): number {
  return zlibCrc32(data, seed);
}
