import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pick } from '../../../tests/support/length.ts';
import { FRAME_HEADER_BYTES, FrameBuffer, scanFrames } from './checked-frames.ts';

function encode(payloads: readonly string[]): Buffer {
  const buffer = new FrameBuffer();
  for (const payload of payloads) buffer.append(payload);
  return Buffer.from(buffer.view());
}

function decode(bytes: Buffer): { payloads: string[]; good: number } {
  const payloads: string[] = [];
  const good = scanFrames(bytes, (payload) => {
    payloads.push(payload.toString());
    return true;
  });
  return { payloads, good };
}

const payloads = fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { maxLength: 20 });

describe('frames', () => {
  it('come back as they were written, whatever they contain', () => {
    fc.assert(
      fc.property(payloads, (texts) => {
        const bytes = encode(texts);
        expect(decode(bytes)).toEqual({ payloads: texts, good: bytes.length });
      }),
      { numRuns: pick(200, 5_000) },
    );
  });

  it('are a prefix of what was written after a cut at any byte', () => {
    const texts = ['{"a":1}', 'x', '{"long":"äöü€"}', '{}'];
    const bytes = encode(texts);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const { payloads: read, good } = decode(bytes.subarray(0, cut));
      expect(read).toEqual(texts.slice(0, read.length));
      expect(good).toBeLessThanOrEqual(cut);
      expect(encode(read).length).toBe(good);
    }
  });

  it('are a prefix of what was written after any flipped bit', () => {
    const texts = ['{"a":1}', 'x', '{"long":"äöü€"}', '{}'];
    const bytes = encode(texts);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const { payloads: read } = decode(damaged);
      expect(read.length).toBeLessThan(texts.length);
      expect(read).toEqual(texts.slice(0, read.length));
    }
  });

  it('are not found in zeros, which is what a crash of the machine leaves behind', () => {
    const bytes = encode(['one']);
    expect(decode(Buffer.concat([bytes, Buffer.alloc(100)]))).toEqual({ payloads: ['one'], good: bytes.length });
  });

  it('end where the reader says so', () => {
    const bytes = encode(['1', '2', '3']);
    expect(scanFrames(bytes, (payload) => payload.toString() !== '2')).toBe(FRAME_HEADER_BYTES + 1);
  });
});

describe('FrameBuffer', () => {
  it('grows, drops from the front and starts again', () => {
    const buffer = new FrameBuffer();
    const big = 'x'.repeat(3 * 1024 * 1024);
    buffer.append('first');
    buffer.append(big);
    buffer.drop(FRAME_HEADER_BYTES + 5);
    buffer.append('last');
    expect(decode(buffer.view()).payloads).toEqual([big, 'last']);
    buffer.clear();
    expect(buffer.length).toBe(0);
    buffer.append('again');
    expect(decode(buffer.view()).payloads).toEqual(['again']);
  });

  it('refuses an empty frame and stays usable', () => {
    const buffer = new FrameBuffer();
    buffer.append('a');
    expect(() => buffer.append('')).toThrow(RangeError);
    buffer.append('b');
    expect(decode(buffer.view()).payloads).toEqual(['a', 'b']);
  });
});
