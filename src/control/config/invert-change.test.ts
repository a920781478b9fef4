import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../domain/virtual-key.ts';
import { sameValue } from '../fleet/field-difference.ts';
import { invertChange } from './invert-change.ts';

const leaf = fc.oneof(fc.constant(null), fc.boolean(), fc.nat(3), fc.array(fc.nat(2), { maxLength: 2 }));
const inner = fc.dictionary(fc.constantFrom('x', 'y', 'a.b', '__proto__'), leaf, { maxKeys: 3 });
const object = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'a.b'), fc.oneof(leaf, inner), {
  maxKeys: 4,
}) as fc.Arbitrary<JsonObject>;

describe('the inverse of a change', () => {
  it('leads back to what was there when nothing else was changed', () => {
    fc.assert(
      fc.property(object, object, (before, after) => {
        const inverse = invertChange({ before, after }, after);
        expect('next' in inverse && sameValue(inverse.next, before)).toBe(true);
      }),
    );
  });

  it('leaves fields alone that the change did not touch', () => {
    fc.assert(
      fc.property(object, object, leaf, (before, after, value) => {
        const current = { ...after, later: value };
        const inverse = invertChange({ before, after }, current);
        expect('next' in inverse && sameValue(inverse.next, { ...before, later: value })).toBe(true);
      }),
    );
  });

  it('is refused where a touched field is not what the change made of it, and only there', () => {
    fc.assert(
      fc.property(leaf, leaf, leaf, (was, made, now) => {
        fc.pre(!sameValue(was, made));
        const inverse = invertChange({ before: { f: was }, after: { f: made } }, { f: now });
        expect('conflict' in inverse).toBe(!sameValue(made, now));
      }),
    );
  });

  it('of a creation is a deletion, of a deletion what was deleted', () => {
    expect(invertChange({ before: null, after: { a: 1 } }, { a: 1 })).toEqual({ next: null });
    expect(invertChange({ before: null, after: { a: 1 } }, { a: 2 })).toHaveProperty('conflict');
    expect(invertChange({ before: null, after: { a: 1 } }, null)).toHaveProperty('conflict');
    expect(invertChange({ before: { a: 1 }, after: null }, null)).toEqual({ next: { a: 1 } });
    expect(invertChange({ before: { a: 1 }, after: null }, { a: 1 })).toHaveProperty('conflict');
  });

  it('takes a secret that was sealed anew for the same secret', () => {
    const sealed = (bytes: string, fingerprint: string) => ({ $sealed: bytes, fingerprint, shown: 'sk-...x' });
    const change = { before: { s: sealed('1', 'old') }, after: { s: sealed('2', 'new') } };
    expect(invertChange(change, { s: sealed('3', 'new') })).toEqual({ next: { s: sealed('1', 'old') } });
    expect(invertChange(change, { s: sealed('3', 'third') })).toHaveProperty('conflict');
  });
});
