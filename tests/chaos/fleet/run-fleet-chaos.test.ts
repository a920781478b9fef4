import { expect, it } from 'vitest';
import { pick } from '../../support/length.ts';
import { runFleetChaos } from './run-fleet-chaos.ts';
import { unexplainedExits } from './unexplained-exits.ts';

/** Other tests run beside. */
const TOLERANCE = 10;
const SEEDS = pick<number[]>([], [20_261]);

it.each(SEEDS)(
  'a fleet of real processes keeps what was promised while things fail, and after they have healed (seed %i)',
  async (seed) => {
    const lines: string[] = [];
    const say = (text: string): void => {
      lines.push(text);
    };
    const { figures, violations } = await runFleetChaos({ seed, rounds: 1, tolerance: TOLERANCE, say });
    expect(violations, lines.join('\n')).toEqual([]);
    expect(figures.length).toBeGreaterThan(5);
  },
  300_000,
);

it('deaths that the run has not caused are told of, and those that it has are not', () => {
  const told = (reason: string): string =>
    `12:34:56.789 WARN  gateway process 0 ended and is started again reason=${reason} delayMs=0\n`;
  const life = (log: string) => ({ logs: () => log }) as Parameters<typeof unexplainedExits>[0]['claviger'];
  const member = (log: string, gateway: number) => ({
    ...{ name: 'eu-0' as const, claviger: life(log), former: [] },
    kills: { gateway, control: 0, supervisor: 0 },
  });
  expect(unexplainedExits(member(told('SIGKILL'), 1))).toEqual([]);
  expect(unexplainedExits(member('', 0))).toEqual([]);
  expect(unexplainedExits(member(told('SIGKILL'), 0))).toHaveLength(1);
  expect(unexplainedExits(member(told('"exit code 1"'), 1))).toHaveLength(1);
  expect(unexplainedExits(member('', 1))).toHaveLength(1);
  expect(unexplainedExits({ ...member('', 1), former: [life('')] })).toEqual([]);
});
