import type { KeyDigest } from '../../../domain/virtual-key.ts';
import { GrowingIndex, type Indexed, NOT_FOUND } from './growing-index.ts';
import type { RecordList } from './record-list.ts';

export const DIGEST_BYTES = 32;
const DIGEST_WORDS = DIGEST_BYTES / 4;
const HEX_CHARS = 2 * DIGEST_BYTES;

/**
 * Records that begin with a SHA-256 and are found by it. They stay without holes: the last one moves to where one was removed.
 */
export class DigestTable implements Indexed {
  readonly records: RecordList;
  readonly #index: GrowingIndex;
  /** The digest that is looked for, set by `#parse`. */
  readonly #sought = new Uint32Array(DIGEST_WORDS);
  readonly #soughtBytes = Buffer.from(this.#sought.buffer);

  constructor(records: RecordList) {
    this.records = records;
    this.#index = new GrowingIndex(this, records.count);
    for (let slot = 0; slot < records.count; slot += 1) this.#index.insert(this.hashOf(slot), slot);
  }

  get count(): number {
    return this.records.count;
  }

  get bytes(): number {
    return this.records.bytes + this.#index.bytes;
  }

  /** The number of the record, or `NOT_FOUND`; also for what is no digest. */
  find(digest: string): number {
    return this.#parse(digest) ? this.#index.find(this.#sought[0]!) : NOT_FOUND;
  }

  /** A new record of zeros for a digest that has none. */
  insert(digest: string): number {
    if (!this.#parse(digest)) throw new RangeError('the token of a key is not a SHA-256 in lower-case hex');
    const slot = this.records.push();
    this.#soughtBytes.copy(this.records.writableChunkOf(slot).bytes, this.records.byteOf(slot));
    this.#index.insert(this.#sought[0]!, slot);
    return slot;
  }

  /** Returns the number that the record at `slot` had before, when another one moved there; else `NOT_FOUND`. */
  remove(slot: number): number {
    const last = this.records.count - 1;
    this.#index.remove(this.hashOf(slot), slot);
    if (slot !== last) {
      this.#index.renumber(this.hashOf(last), last, slot);
      this.records.copy(last, slot);
    }
    this.records.pop();
    return slot === last ? NOT_FOUND : last;
  }

  digestAt(slot: number): KeyDigest {
    return digestIn(this.records, slot);
  }

  /** A digest is evenly spread by itself. */
  hashOf(slot: number): number {
    return this.records.chunkOf(slot).words[this.records.byteOf(slot) >>> 2]!;
  }

  isSought(slot: number): boolean {
    const { words } = this.records.chunkOf(slot);
    const at = this.records.byteOf(slot) >>> 2;
    const sought = this.#sought;
    for (let index = 0; index < DIGEST_WORDS; index += 1) {
      if (words[at + index] !== sought[index]) return false;
    }
    return true;
  }

  #parse(hex: string): boolean {
    if (hex.length !== HEX_CHARS) return false;
    const bytes = this.#soughtBytes;
    for (let index = 0; index < DIGEST_BYTES; index += 1) {
      const high = nibble(hex.charCodeAt(2 * index));
      const low = nibble(hex.charCodeAt(2 * index + 1));
      if ((high | low) < 0) return false;
      bytes[index] = (high << 4) | low;
    }
    return true;
  }
}

export function digestIn(records: RecordList, slot: number): KeyDigest {
  const at = records.byteOf(slot);
  return records.chunkOf(slot).bytes.toString('hex', at, at + DIGEST_BYTES) as KeyDigest;
}

/** Upper case is no digest of ours: a key would be found under two names. */
function nibble(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 97 && code <= 102 ? code - 87 : -1;
}
