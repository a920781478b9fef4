import { describe, expect, it } from 'vitest';
import { drifted } from './drift.ts';

const at = (rev: number, setHash: string, epoch = 1) => ({ epoch, rev, setHash });

describe('drift', () => {
  it('is what differs from the majority at the same revision', () => {
    expect(drifted([at(5, 'a'), at(5, 'b'), at(5, 'a'), null])).toEqual(new Set([1]));
  });

  it('is everybody where nobody has the majority', () => {
    expect(drifted([at(5, 'a'), at(5, 'b')])).toEqual(new Set([0, 1]));
  });

  it('is nothing between different revisions or epochs', () => {
    expect(drifted([at(5, 'a'), at(6, 'b'), at(5, 'c', 2), null])).toEqual(new Set());
  });
});
