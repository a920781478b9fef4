import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { uuidV7, uuidV7Source, uuidV7TimeMs } from './uuid-v7.ts';

const FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('uuidV7', () => {
  it('has version 7, the RFC variant, and the time in front', () => {
    const id = uuidV7(0x0190_1234_5678, () => new Uint8Array(10).fill(0xff));
    expect(id).toBe('01901234-5678-7fff-bfff-ffffffffffff');
    expect(uuidV7TimeMs(id)).toBe(0x0190_1234_5678);
  });

  it('has the form for all random bytes', () => {
    for (let round = 0; round < 1000; round += 1) expect(uuidV7(Date.now(), randomBytes)).toMatch(FORM);
  });
});

describe('uuidV7Source', () => {
  it('is strictly increasing within a millisecond, also beyond the counter', () => {
    const next = uuidV7Source(() => 1_700_000_000_000, randomBytes);
    let last = '';
    for (let round = 0; round < 20_000; round += 1) {
      const id = next();
      expect(id > last).toBe(true);
      last = id;
    }
    expect(last).toMatch(FORM);
  });

  it('is strictly increasing when the wall clock steps back', () => {
    const times = [1000, 1001, 900, 900, 1001, 1002];
    const next = uuidV7Source(() => times.shift() ?? 0, randomBytes);
    const ids = Array.from({ length: 6 }, next);
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(6);
  });

  it('does not repeat random bits', () => {
    const next = uuidV7Source(() => 5, randomBytes);
    const tails = new Set(Array.from({ length: 5000 }, () => next().slice(19)));
    expect(tails.size).toBe(5000);
  });
});
