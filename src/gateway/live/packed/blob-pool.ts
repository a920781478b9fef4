import { Chunk, freezeChunks, writableChunk } from './chunk.ts';

/** Stands for no blob. */
export const NO_BLOB = 0;
export const BLOB_CHUNK_BYTES: number = 256 * 1024;
/** A blob that needs more has a chunk to itself. */
const SHARED_BYTES_MAX = BLOB_CHUNK_BYTES / 4;
/** A reference is 16 bits of chunk and 16 bits of place in it, in steps of 4 bytes. Beyond it (16 GiB) adding throws. */
const CHUNKS_MAX = 1 << 16;
const STEP_BYTES = 4;
/** Up to here each size has a list of its own; beyond it eight sizes share a doubling, so that at most 1/8 is wasted. */
const EXACT_BYTES_MAX = 1_024;
/** A length of less is one byte; others follow it in four. */
const LONG_LENGTH = 255;

/** Everything about a pool but its bytes; goes into a file as it is. */
export interface BlobPoolShape {
  readonly chunkCount: number;
  /** Where the next new blob goes. */
  readonly chunk: number;
  readonly offset: number;
  readonly freeBytes: number;
  /** First free block of each size; the others hang on it. */
  readonly freeBlocks: readonly (readonly [size: number, ref: number])[];
  /** Chunks that belong to one blob, and their lengths; 0: free. */
  readonly ownChunks: readonly (readonly [chunk: number, byteLength: number])[];
}

/**
 * Strings of bytes in chunks of off-heap memory, each known by a 32-bit reference. A blob that is freed leaves a block for the
 * next one of the same size, so that what is replaced over and over does not grow the pool.
 */
export class BlobPool {
  readonly #chunks: Chunk[];
  #chunk: number;
  #offset: number;
  #freeBytes: number;
  readonly #freeBlocks: Map<number, number>;
  readonly #ownChunks: Map<number, number>;

  constructor(shape: BlobPoolShape | null = null, chunks: Chunk[] = []) {
    this.#chunks = chunks;
    this.#chunk = shape?.chunk ?? -1;
    this.#offset = shape?.offset ?? BLOB_CHUNK_BYTES;
    this.#freeBytes = shape?.freeBytes ?? 0;
    this.#freeBlocks = new Map(shape?.freeBlocks);
    this.#ownChunks = new Map(shape?.ownChunks);
  }

  get bytes(): number {
    let bytes = 0;
    for (const chunk of this.#chunks) bytes += chunk.bytes.length;
    return bytes;
  }

  /** Of `bytes`: in blocks that wait for a blob of their size. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  get chunks(): readonly Chunk[] {
    return this.#chunks;
  }

  get shape(): BlobPoolShape {
    return {
      chunkCount: this.#chunks.length,
      chunk: this.#chunk,
      offset: this.#offset,
      freeBytes: this.#freeBytes,
      freeBlocks: [...this.#freeBlocks],
      ownChunks: [...this.#ownChunks],
    };
  }

  add(text: string): number {
    const length = Buffer.byteLength(text);
    const ref = this.#allocate(sizeFor(length));
    const { bytes } = this.#writable(ref);
    let at = offsetIn(ref);
    if (length < LONG_LENGTH) bytes[at++] = length;
    else {
      bytes[at] = LONG_LENGTH;
      bytes.writeUInt32LE(length, at + 1);
      at += 5;
    }
    bytes.write(text, at, length, 'utf8');
    return ref;
  }

  text(ref: number): string {
    const { bytes } = this.#chunks[ref >>> 16]!;
    const at = offsetIn(ref);
    const short = bytes[at]!;
    if (short < LONG_LENGTH) return bytes.toString('utf8', at + 1, at + 1 + short);
    return bytes.toString('utf8', at + 5, at + 5 + bytes.readUInt32LE(at + 1));
  }

  /** Whether the blob is these bytes. */
  equals(ref: number, text: Buffer): boolean {
    const { bytes } = this.#chunks[ref >>> 16]!;
    const at = offsetIn(ref);
    const short = bytes[at]!;
    const length = short < LONG_LENGTH ? short : bytes.readUInt32LE(at + 1);
    const start = at + (short < LONG_LENGTH ? 1 : 5);
    return length === text.length && bytes.compare(text, 0, length, start, start + length) === 0;
  }

  free(ref: number): void {
    const index = ref >>> 16;
    if (this.#ownChunks.has(index)) {
      this.#chunks[index] = new Chunk(0);
      this.#ownChunks.set(index, 0);
      return;
    }
    const { bytes } = this.#chunks[index]!;
    const at = offsetIn(ref);
    this.#keep(ref, sizeFor(bytes[at]! < LONG_LENGTH ? bytes[at]! : bytes.readUInt32LE(at + 1)));
  }

  /** The pool as it is now, whatever is written to this one afterwards. */
  freeze(): BlobPool {
    return new BlobPool(this.shape, freezeChunks(this.#chunks));
  }

  #writable(ref: number): Chunk {
    return writableChunk(this.#chunks, ref >>> 16);
  }

  #allocate(size: number): number {
    if (size > SHARED_BYTES_MAX) return this.#ownChunk(size);
    const free = this.#freeBlocks.get(size);
    if (free !== undefined) {
      const next = this.#chunks[free >>> 16]!.words[offsetIn(free) / 4]!;
      if (next === NO_BLOB) this.#freeBlocks.delete(size);
      else this.#freeBlocks.set(size, next);
      this.#freeBytes -= size;
      return free;
    }
    if (this.#offset + size > BLOB_CHUNK_BYTES) this.#nextChunk();
    const ref = refOf(this.#chunk, this.#offset);
    this.#offset += size;
    return ref;
  }

  /** The rest of the present chunk stays useful as a free block. */
  #nextChunk(): void {
    const left = blockWithin(BLOB_CHUNK_BYTES - this.#offset);
    if (left > 0) this.#keep(refOf(this.#chunk, this.#offset), left);
    this.#chunk = this.#push(new Chunk(BLOB_CHUNK_BYTES));
    // The first place of the first chunk would be `NO_BLOB`.
    this.#offset = this.#chunk === 0 ? STEP_BYTES : 0;
  }

  #ownChunk(size: number): number {
    const chunk = new Chunk(Math.ceil(size / 8) * 8);
    // In front, so that no blob ever begins where `NO_BLOB` does.
    if (this.#chunk === -1) this.#nextChunk();
    for (const [index, byteLength] of this.#ownChunks) {
      if (byteLength > 0) continue;
      this.#chunks[index] = chunk;
      this.#ownChunks.set(index, chunk.bytes.length);
      return refOf(index, 0);
    }
    const index = this.#push(chunk);
    this.#ownChunks.set(index, chunk.bytes.length);
    return refOf(index, 0);
  }

  #push(chunk: Chunk): number {
    if (this.#chunks.length === CHUNKS_MAX) throw new RangeError('a pool of texts is full');
    return this.#chunks.push(chunk) - 1;
  }

  #keep(ref: number, size: number): void {
    this.#writable(ref).words[offsetIn(ref) / 4] = this.#freeBlocks.get(size) ?? NO_BLOB;
    this.#freeBlocks.set(size, ref);
    this.#freeBytes += size;
  }
}

function refOf(chunk: number, offset: number): number {
  return ((chunk << 16) | (offset / STEP_BYTES)) >>> 0;
}

function offsetIn(ref: number): number {
  return (ref & 0xffff) * STEP_BYTES;
}

/** Bytes of the block that a text of `length` bytes is kept in. */
function sizeFor(length: number): number {
  const needed = length + (length < LONG_LENGTH ? 1 : 5);
  return Math.ceil(needed / stepAt(needed)) * stepAt(needed);
}

/** The largest block size that fits into `bytes`. */
function blockWithin(bytes: number): number {
  const size = Math.min(bytes, SHARED_BYTES_MAX);
  return size - (size % stepAt(size));
}

function stepAt(size: number): number {
  return size <= EXACT_BYTES_MAX ? STEP_BYTES : 1 << (28 - Math.clz32(size - 1));
}
