/**
 * Frames of an append-only file: `[u32 length][u32 CRC-32 of the payload][payload]`, big endian. A file is read up to the
 * first frame that does not check out; what follows is a write that did not finish, or damage, and is never interpreted.
 */
import { crc32 } from '../../util/crc.ts';
import { withRoom } from '../../util/with-room.ts';

export const FRAME_HEADER_BYTES = 8;
/** A longer payload is refused by `append`, and a longer length read from a file is damage. */
export const FRAME_PAYLOAD_BYTES_MAX = 32 * 1024 * 1024;

const CAPACITY_FIRST_BYTES = 64 * 1024;
/** A buffer that grew beyond this is given back when it is cleared, so that one burst is not paid for forever. */
const CAPACITY_KEPT_BYTES_MAX = 1024 * 1024;

/** Encodes frames one behind the other into one buffer that is used again and again. */
export class FrameBuffer {
  #bytes: Buffer = Buffer.allocUnsafe(CAPACITY_FIRST_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Appends one frame. `payload` is not empty: a length of zero is how a file of zeros looks. */
  append(payload: string): void {
    const start = this.#length;
    // UTF-8 needs at most three bytes per UTF-16 unit.
    this.#bytes = withRoom(this.#bytes, this.#length, FRAME_HEADER_BYTES + payload.length * 3);
    this.#finish(start, this.#bytes.write(payload, start + FRAME_HEADER_BYTES));
  }

  /** The same for a payload of ASCII characters only, which is quicker. */
  appendAscii(payload: string): void {
    const start = this.#length;
    this.#bytes = withRoom(this.#bytes, this.#length, FRAME_HEADER_BYTES + payload.length);
    this.#finish(start, this.#bytes.write(payload, start + FRAME_HEADER_BYTES, 'latin1'));
  }

  #finish(start: number, written: number): void {
    if (written === 0 || written > FRAME_PAYLOAD_BYTES_MAX) {
      throw new RangeError(
        `a frame of ${written} bytes can not be written; 1 to ${FRAME_PAYLOAD_BYTES_MAX} are possible`,
      );
    }
    const end = start + FRAME_HEADER_BYTES + written;
    this.#bytes.writeUInt32BE(written, start);
    this.#bytes.writeUInt32BE(crc32(this.#bytes.subarray(start + FRAME_HEADER_BYTES, end)), start + 4);
    this.#length = end;
  }

  /** Appends frames that are encoded already. */
  appendEncoded(frames: Buffer): void {
    this.#bytes = withRoom(this.#bytes, this.#length, frames.length);
    frames.copy(this.#bytes, this.#length);
    this.#length += frames.length;
  }

  /** A view, valid until the next `append` or `clear`. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
    if (this.#bytes.length > CAPACITY_KEPT_BYTES_MAX) this.#bytes = Buffer.allocUnsafe(CAPACITY_FIRST_BYTES);
  }

  /** Forgets the first `bytes` bytes. */
  drop(bytes: number): void {
    if (bytes >= this.#length) {
      this.clear();
      return;
    }
    this.#bytes.copyWithin(0, bytes, this.#length);
    this.#length -= bytes;
  }
}

/**
 * Reads frames from the start of `bytes` until one does not check out or `onFrame` returns false, and returns how many
 * bytes were good. The payload is a view into `bytes`.
 */
export function scanFrames(bytes: Buffer, onFrame: (payload: Buffer) => boolean): number {
  let at = 0;
  while (at + FRAME_HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    const end = at + FRAME_HEADER_BYTES + length;
    if (length === 0 || length > FRAME_PAYLOAD_BYTES_MAX || end > bytes.length) break;
    const payload = bytes.subarray(at + FRAME_HEADER_BYTES, end);
    if (crc32(payload) !== bytes.readUInt32BE(at + 4)) break;
    if (!onFrame(payload)) break;
    at = end;
  }
  return at;
}
