import { Chunk, freezeChunks, writableChunk } from './chunk.ts';

/** Records per chunk: a chunk of 96-byte records is 192 KiB, which is copied in some 30 µs when it is frozen. */
const RECORDS_PER_CHUNK_BITS = 11;
export const RECORDS_PER_CHUNK: number = 1 << RECORDS_PER_CHUNK_BITS;
const IN_CHUNK = RECORDS_PER_CHUNK - 1;

/** Records of one fixed size, numbered from 0 without holes, in chunks: growing never moves one. */
export class RecordList {
  readonly recordBytes: number;
  readonly chunks: Chunk[];
  #count: number;

  constructor(recordBytes: number, chunks: Chunk[] = [], count = 0) {
    this.recordBytes = recordBytes;
    this.chunks = chunks;
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.chunks.length * RECORDS_PER_CHUNK * this.recordBytes;
  }

  chunkOf(slot: number): Chunk {
    return this.chunks[slot >>> RECORDS_PER_CHUNK_BITS]!;
  }

  writableChunkOf(slot: number): Chunk {
    return writableChunk(this.chunks, slot >>> RECORDS_PER_CHUNK_BITS);
  }

  /** Where the record begins in its chunk. */
  byteOf(slot: number): number {
    return (slot & IN_CHUNK) * this.recordBytes;
  }

  /** A new last record of zeros; returns its number. */
  push(): number {
    const slot = this.#count;
    if (slot === this.chunks.length * RECORDS_PER_CHUNK) {
      this.chunks.push(new Chunk(RECORDS_PER_CHUNK * this.recordBytes));
    } else {
      const at = this.byteOf(slot);
      this.writableChunkOf(slot).bytes.fill(0, at, at + this.recordBytes);
    }
    this.#count += 1;
    return slot;
  }

  /** Copies record `from` over record `to`. */
  copy(from: number, to: number): void {
    const target = this.writableChunkOf(to);
    const start = this.byteOf(from);
    this.chunkOf(from).bytes.copy(target.bytes, this.byteOf(to), start, start + this.recordBytes);
  }

  /** Removes the last record. */
  pop(): void {
    this.#count -= 1;
    const chunksNeeded = Math.ceil(this.#count / RECORDS_PER_CHUNK);
    // One empty chunk is kept, so that a list that changes around a border does not allocate each time.
    if (this.chunks.length > chunksNeeded + 1) this.chunks.pop();
  }

  /** The records as they are now, whatever is written to this list afterwards. */
  freeze(): RecordList {
    return new RecordList(this.recordBytes, freezeChunks(this.chunks), this.#count);
  }
}
