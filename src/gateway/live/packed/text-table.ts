import type { JsonValue } from '../../../domain/virtual-key.ts';
import type { BlobPool } from './blob-pool.ts';
import { GrowingIndex, type Indexed, NOT_FOUND } from './growing-index.ts';
import type { RecordList } from './record-list.ts';

/** Stands for no value. */
export const NO_TEXT = 0;
/** A record: reference of the text, users (0: a free number), hash; of a free one, the first is the next free number. */
export const TEXT_RECORD_BYTES = 12;
const REF = 0;
const USERS = 1;
const HASH = 2;
/** Decoded values that are kept, so that keys of one team share one list of models. At the bound all are decoded again. */
export const DECODED_MAX = 20_000;

/**
 * JSON values that many keys have in common, each kept once as text and known by a number. Values are counted by their users and
 * forgotten with the last one.
 */
export class TextTable implements Indexed {
  readonly records: RecordList;
  readonly #pool: BlobPool;
  readonly #index: GrowingIndex;
  readonly #decoded = new Map<number, JsonValue>();
  #firstFree: number;
  #sought: Buffer = Buffer.alloc(0);
  #soughtHash = 0;

  constructor(records: RecordList, pool: BlobPool, firstFree = NO_TEXT) {
    this.records = records;
    this.#pool = pool;
    this.#firstFree = firstFree;
    // Number 0 is `NO_TEXT`.
    if (records.count === 0) records.push();
    this.#index = new GrowingIndex(this, records.count);
    for (let id = 1; id < records.count; id += 1) {
      if (this.#word(id, USERS) > 0) this.#index.insert(this.#word(id, HASH), id);
    }
  }

  /** Distinct values. */
  get count(): number {
    return this.#index.count;
  }

  get bytes(): number {
    return this.records.bytes + this.#index.bytes;
  }

  get firstFree(): number {
    return this.#firstFree;
  }

  /** The number of a value, which has one more user. */
  add(value: JsonValue): number {
    const text = JSON.stringify(value);
    this.#sought = Buffer.from(text);
    this.#soughtHash = hashOfBytes(this.#sought);
    const known = this.#index.find(this.#soughtHash);
    if (known !== NOT_FOUND) {
      this.#set(known, USERS, this.#word(known, USERS) + 1);
      return known;
    }
    const id = this.#newNumber();
    this.#set(id, REF, this.#pool.add(text));
    this.#set(id, USERS, 1);
    this.#set(id, HASH, this.#soughtHash);
    this.#index.insert(this.#soughtHash, id);
    return id;
  }

  /** One user less. */
  release(id: number): void {
    if (id === NO_TEXT) return;
    const users = this.#word(id, USERS) - 1;
    this.#set(id, USERS, users);
    if (users > 0) return;
    this.#index.remove(this.#word(id, HASH), id);
    this.#pool.free(this.#word(id, REF));
    this.#decoded.delete(id);
    this.#set(id, REF, this.#firstFree);
    this.#firstFree = id;
  }

  /** The value; the same object for all who ask, so it must not be changed. */
  value(id: number): JsonValue {
    let value = this.#decoded.get(id);
    if (value === undefined) {
      value = JSON.parse(this.#pool.text(this.#word(id, REF))) as JsonValue;
      if (this.#decoded.size >= DECODED_MAX) this.#decoded.clear();
      this.#decoded.set(id, value);
    }
    return value;
  }

  hashOf(id: number): number {
    return this.#word(id, HASH);
  }

  isSought(id: number): boolean {
    return this.#word(id, HASH) === this.#soughtHash && this.#pool.equals(this.#word(id, REF), this.#sought);
  }

  #newNumber(): number {
    const id = this.#firstFree;
    if (id === NO_TEXT) return this.records.push();
    this.#firstFree = this.#word(id, REF);
    return id;
  }

  #word(id: number, field: number): number {
    return this.records.chunkOf(id).words[this.records.byteOf(id) / 4 + field]!;
  }

  #set(id: number, field: number, word: number): void {
    this.records.writableChunkOf(id).words[this.records.byteOf(id) / 4 + field] = word;
  }
}

/** FNV-1a, its bits mixed once more: the index uses the lowest ones. */
function hashOfBytes(bytes: Buffer): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < bytes.length; index += 1) hash = Math.imul(hash ^ bytes[index]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
