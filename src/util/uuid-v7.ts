/** A source of random bytes; `randomBytes` of `node:crypto` fits. */
export type RandomBytes = (size: number) => Uint8Array;

/** One UUID of version 7 (RFC 9562): sorts by `nowMs`, random within the millisecond. */
export function uuidV7(nowMs: number, randomBytes: RandomBytes): string {
  const bytes = randomBytes(10);
  return format(nowMs, ((bytes[0]! & 0x0f) << 8) | bytes[1]!, bytes, 2);
}

/**
 * A source of UUIDs of version 7 that are strictly increasing, also within a millisecond and when the wall clock steps
 * back. The 12 bits after the version are a counter that starts at a random value below 2048 in each new millisecond; when
 * it is used up, the time stamp runs ahead of the clock by one millisecond. Randomness is drawn in blocks, because one
 * call of `randomBytes` costs more than the rest together.
 */
export function uuidV7Source(nowMs: () => number, randomBytes: RandomBytes): () => string {
  let lastMs = -1;
  let counter = 0;
  let pool: Uint8Array = new Uint8Array(0);
  let used = 0;

  return () => {
    if (used + BYTES_PER_UUID > pool.length) {
      pool = randomBytes(BYTES_PER_UUID * UUIDS_PER_POOL);
      used = 0;
    }
    const now = nowMs();
    if (now > lastMs) {
      lastMs = now;
      counter = ((pool[used]! & 0x07) << 8) | pool[used + 1]!;
    } else if (counter < COUNTER_MAX) {
      counter += 1;
    } else {
      lastMs += 1;
      counter = ((pool[used]! & 0x07) << 8) | pool[used + 1]!;
    }
    const id = format(lastMs, counter, pool, used + 2);
    used += BYTES_PER_UUID;
    return id;
  };
}

/** Milliseconds since the epoch at which a UUID of version 7 was made. */
export function uuidV7TimeMs(uuid: string): number {
  return Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16);
}

const BYTES_PER_UUID = 10;
const UUIDS_PER_POOL = 128;
const COUNTER_MAX = 0xfff;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function format(timeMs: number, counter: number, random: Uint8Array, at: number): string {
  const high = Math.floor(timeMs / 0x1_0000);
  const low = timeMs % 0x1_0000;
  return (
    `${HEX[(high >>> 24) & 0xff]}${HEX[(high >>> 16) & 0xff]}${HEX[(high >>> 8) & 0xff]}${HEX[high & 0xff]}` +
    `-${HEX[(low >>> 8) & 0xff]}${HEX[low & 0xff]}` +
    `-${HEX[0x70 | (counter >>> 8)]}${HEX[counter & 0xff]}` +
    `-${HEX[0x80 | (random[at]! & 0x3f)]}${HEX[random[at + 1]!]}` +
    `-${HEX[random[at + 2]!]}${HEX[random[at + 3]!]}${HEX[random[at + 4]!]}${HEX[random[at + 5]!]}` +
    `${HEX[random[at + 6]!]}${HEX[random[at + 7]!]}`
  );
}
