import './lib/node-version.mjs';
import { ensureBuilt, ensureInstalled } from './lib/prepare.mjs';

// `npm test [-- --long] [-- arguments of Vitest, for example file names]`
ensureInstalled();
// Tests that start processes start what users start.
ensureBuilt();

const { register } = await import('tsx/esm/api');
register();
const { testLegs } = await import('../tests/support/test-legs.ts');
const { runLegs } = await import('../tests/support/run-legs.ts');

const given = process.argv.slice(2);
const long = given.includes('--long');
process.exitCode = await runLegs(
  testLegs(long),
  given.filter((argument) => argument !== '--long'),
  { write: (text) => process.stdout.write(text), ci: Boolean(process.env.CI), vitestOutput: 'inherit' },
);
