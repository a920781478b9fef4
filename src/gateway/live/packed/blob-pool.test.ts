import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pick } from '../../../../tests/support/length.ts';
import { BlobPool, NO_BLOB } from './blob-pool.ts';

const lengths = fc.oneof(
  fc.nat(300),
  fc.constantFrom(253, 254, 255, 1_019, 1_020, 1_023, 1_024, 60_000, 65_531, 65_532, 200_000),
);
const step = fc.oneof(
  fc.record({ do: fc.constant('add' as const), length: lengths }),
  fc.record({ do: fc.constant('free' as const), place: fc.nat() }),
  fc.constant({ do: 'freeze' as const }),
);

describe('BlobPool', () => {
  it('keeps every text as it was given until it is freed, and a frozen one for ever', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const pool = new BlobPool();
        const texts = new Map<number, string>();
        const frozen: (readonly [BlobPool, ReadonlyMap<number, string>])[] = [];
        let number = 0;
        for (const next of steps) {
          if (next.do === 'add') {
            number += 1;
            const text = `${number}ä`.padEnd(next.length, String.fromCharCode(97 + (number % 26)));
            const ref = pool.add(text);
            expect(ref).not.toBe(NO_BLOB);
            expect(texts.has(ref)).toBe(false);
            texts.set(ref, text);
          } else if (next.do === 'free' && texts.size > 0) {
            const ref = [...texts.keys()][next.place % texts.size]!;
            texts.delete(ref);
            pool.free(ref);
          } else if (next.do === 'freeze') frozen.push([pool.freeze(), new Map(texts)]);
        }
        for (const [held, expected] of [[pool, texts] as const, ...frozen]) {
          for (const [ref, text] of expected) {
            expect(held.text(ref)).toBe(text);
            expect(held.equals(ref, Buffer.from(text))).toBe(true);
            expect(held.equals(ref, Buffer.from(`${text}x`))).toBe(false);
          }
        }
      }),
      { numRuns: pick(60, 300) },
    );
  });

  it('puts a text where one of the same size was freed', () => {
    const pool = new BlobPool();
    const refs = ['aaaa', 'b'.repeat(2_000), 'c'.repeat(100_000)].map((text) => pool.add(text));
    pool.add('between');
    const { bytes } = pool;
    for (const ref of refs) pool.free(ref);
    expect(pool.freeBytes).toBeGreaterThan(2_000);
    expect(['dddd', 'e'.repeat(1_990), 'f'.repeat(99_999)].map((text) => pool.add(text))).toEqual(refs);
    expect([pool.freeBytes, pool.bytes]).toEqual([0, bytes]);
  });
});
