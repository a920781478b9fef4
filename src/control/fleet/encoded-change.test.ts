import { describe, expect, it } from 'vitest';
import { keyChange, keyDeleted } from '../../../tests/support/principals.ts';
import { encodeDownFrame, parseDownFrame } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import { encodedChange, encodeFrame } from './encoded-change.ts';

const FRAMES: readonly DownFrame[] = [
  { t: 'delta', epoch: 1, from: 5, to: 7, changes: [keyChange(6, 'a', { keyAlias: 'ä"\n' }), keyDeleted(7, 'b')] },
  { t: 'delta', epoch: 1, from: 5, to: 7, changes: [], head: 'a'.repeat(64) },
  { t: 'deny', epoch: 1, rev: 3, tokens: ['a'.repeat(64)] },
];

describe('a frame with changes that were encoded before', () => {
  it.each(FRAMES)('is the same text as any other: %j', (frame) => {
    for (let n = 0; n < 2; n += 1) {
      expect(encodeFrame(frame)).toBe(encodeDownFrame(frame));
      expect(parseDownFrame(encodeFrame(frame))).toEqual(frame);
    }
  });

  it('encodes a change once', () => {
    let times = 0;
    const change = { ...keyChange(1, 'a'), toJSON: () => ({ times: ++times }) };
    expect([encodedChange(change), encodedChange(change)]).toEqual(['{"times":1}', '{"times":1}']);
  });
});
