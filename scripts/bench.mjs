import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, root } from './lib/prepare.mjs';

// `npm run bench [-- options]`: what a request costs, beside other relays. `-- --help` lists the options.
// `npm run bench -- fleet`: the figures of the promises about a fleet.
ensureInstalled();
const given = process.argv.slice(2);
const named = given.includes('--candidates') ? (given[given.indexOf('--candidates') + 1] ?? '') : 'claviger';
const asItIs = given.includes('--no-build') || given.includes('--help');
if (named.includes('claviger') && !asItIs) ensureBuilt();
const isFleet = given[0] === 'fleet';
const run = spawnSync(
  process.execPath,
  [
    '--import',
    'tsx',
    isFleet ? join(root, 'bench', 'fleet', 'main.ts') : join(root, 'bench', 'load', 'main.mjs'),
    ...given.filter((argument) => argument !== '--no-build' && argument !== 'fleet'),
  ],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = run.status ?? 1;
