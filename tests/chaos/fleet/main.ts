/**
 * `npm run chaos -- fleet [--seed N] [--minutes M] [--write-docs]`: a fleet of real processes, faults from a seeded schedule, and what was promised
 * while they happen and after they have healed. Exit code 1 when anything was violated.
 */
import { randomInt } from 'node:crypto';
import { runFleetChaos } from './run-fleet-chaos.ts';
import { roundsIn } from './schedule.ts';
import { writeFleetChaosTable } from './write-table.ts';

const MINUTES_DEFAULT = 3;
const MINUTES_MAX = 60;

// Each life of an instance listens, so that nothing outlives this process.
process.setMaxListeners(0);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const seed = Math.floor(numberAfter('--seed') ?? randomInt(2 ** 31));
const minutes = Math.min(MINUTES_MAX, numberAfter('--minutes') ?? MINUTES_DEFAULT);
const rounds = roundsIn(minutes * 60_000);
const startedAtMs = performance.now();
const say = (text: string): void => console.log(`${((performance.now() - startedAtMs) / 1_000).toFixed(1)} s ${text}`);
say(`seed ${seed}, ${rounds} rounds; again with: npm run chaos -- fleet --seed ${seed} --minutes ${minutes}`);

const { figures, violations } = await runFleetChaos({ seed, rounds, tolerance: 1, say });
console.log('\n| What | To reach | Measured |\n|---|---|---|');
for (const { bound, measured, what } of figures) console.log(`| ${what} | ${bound} | ${measured} |`);
console.log(`\n${violations.length} violations, seed ${seed}`);
if (violations.length > 0) {
  for (const text of violations) console.log(`- ${text}`);
  process.exit(1);
}
if (process.argv.includes('--write-docs')) await writeFleetChaosTable(figures, { seed, minutes });
process.exit(0);

function numberAfter(name: string): number | null {
  const at = process.argv.indexOf(name);
  if (at < 0) return null;
  const value = Number(process.argv[at + 1]);
  if (!Number.isFinite(value) || value <= 0) {
    console.error(`${name} takes a number above 0, not ${process.argv[at + 1]}`);
    process.exit(2);
  }
  return value;
}
