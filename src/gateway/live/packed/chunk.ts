/** A piece of off-heap memory that is copied before it is written to while somebody else still reads it. */
export class Chunk {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  readonly longs: BigInt64Array;
  /** Part of a frozen copy: whoever wants to write makes a chunk of its own first. */
  isFrozen = false;

  /** `byteLength` is a multiple of 8. */
  constructor(byteLength: number) {
    const memory = new ArrayBuffer(byteLength);
    this.bytes = Buffer.from(memory);
    this.words = new Uint32Array(memory);
    this.doubles = new Float64Array(memory);
    this.longs = new BigInt64Array(memory);
  }

  copy(): Chunk {
    const copy = new Chunk(this.bytes.length);
    copy.bytes.set(this.bytes);
    return copy;
  }
}

/** Replaces the chunk at `index` by a copy when it is frozen; returns the one that may be written to. */
export function writableChunk(chunks: Chunk[], index: number): Chunk {
  const chunk = chunks[index]!;
  if (!chunk.isFrozen) return chunk;
  const copy = chunk.copy();
  chunks[index] = copy;
  return copy;
}

/** The chunks as they are now: later writes go to copies. Costs one step per chunk, not per byte. */
export function freezeChunks(chunks: readonly Chunk[]): Chunk[] {
  for (const chunk of chunks) chunk.isFrozen = true;
  return chunks.slice();
}
