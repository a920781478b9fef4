import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gatewayState, LOST_AFTER_MS, PRESENCE_AGE_MAX_MS, REPORT_INTERVAL_MS, worstState } from './gateway-state.ts';

const facts = {
  heardAgeMs: 0,
  heardEveryMs: REPORT_INTERVAL_MS,
  reporterAgeMs: 0,
  leftReason: null,
  saysDraining: false,
};

describe('the state of a gateway process', () => {
  it.each([
    [{}, 'live'],
    [{ heardAgeMs: 29_999 }, 'live'],
    [{ heardAgeMs: 30_000 }, 'suspect'],
    [{ heardAgeMs: 3_000, heardEveryMs: 1_000 }, 'suspect'],
    [{ reporterAgeMs: PRESENCE_AGE_MAX_MS - 1 }, 'live'],
    [{ reporterAgeMs: PRESENCE_AGE_MAX_MS }, 'suspect'],
    [{ reporterAgeMs: PRESENCE_AGE_MAX_MS, saysDraining: true }, 'suspect'],
    [{ heardAgeMs: LOST_AFTER_MS }, 'lost'],
    [{ leftReason: 'connection lost' }, 'suspect'],
    [{ leftReason: 'connection lost', heardAgeMs: LOST_AFTER_MS }, 'lost'],
    [{ leftReason: 'drained', heardAgeMs: LOST_AFTER_MS }, 'left'],
    [{ saysDraining: true }, 'draining'],
    [{ saysDraining: true, heardAgeMs: 30_000 }, 'suspect'],
  ])('of %j is %s', (changes, state) => {
    expect(gatewayState({ ...facts, ...changes })).toBe(state);
  });

  it('is never live or draining once three reports are missing or its control process is gone, whatever it said last', () => {
    fc.assert(
      fc.property(
        fc.nat(1_000_000),
        fc.integer({ min: 1, max: 60_000 }),
        fc.constantFrom(null, 'connection lost', 'drained', 'anything'),
        fc.boolean(),
        fc.boolean(),
        (over, heardEveryMs, leftReason, saysDraining, isHeard) => {
          const silence = isHeard
            ? { heardAgeMs: 0, reporterAgeMs: PRESENCE_AGE_MAX_MS + over }
            : { heardAgeMs: 3 * heardEveryMs + over, reporterAgeMs: 0 };
          const state = gatewayState({ ...silence, heardEveryMs, leftReason, saysDraining });
          expect(['suspect', 'lost', 'left']).toContain(state);
        },
      ),
    );
  });

  it('of an instance is the worst of those that have not left', () => {
    expect(worstState(['live', 'lost', 'suspect'])).toBe('lost');
    expect(worstState(['live', 'left'])).toBe('live');
    expect(worstState(['left', 'left'])).toBe('left');
  });
});
