import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ensureBuilt, ensureInstalled, root } from './lib/prepare.mjs';

// `npm run bench [-- options]`: what a request costs, beside other relays. `-- --help` lists the options.
// `npm run bench -- fleet`: the figures of the promises about a fleet.
// `npm run bench -- micro [name ...]`: what single parts cost, one after the other; all of `bench/micro`, or those named.
ensureInstalled();
const given = process.argv.slice(2);
const named = given.includes('--candidates') ? (given[given.indexOf('--candidates') + 1] ?? '') : 'claviger';
const asItIs = given.includes('--no-build') || given.includes('--help');
if (named.includes('claviger') && !asItIs) ensureBuilt();
const [kind] = given;
const options = given.filter((argument) => argument !== '--no-build' && argument !== kind);
if (kind === 'micro') process.exitCode = runMicro(options);
else if (kind === 'fleet') process.exitCode = run(join('bench', 'fleet', 'main.ts'), options);
else
  process.exitCode = run(
    join('bench', 'load', 'main.mjs'),
    given.filter((argument) => argument !== '--no-build'),
  );

/** All of them are run, also when one fails; 1 when one did. */
function runMicro(named) {
  const there = readdirSync(join(root, 'bench', 'micro'))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => basename(file, '.ts'))
    .sort();
  if (named.includes('--help')) {
    console.log(`npm run bench -- micro [${there.join('|')} ...]`);
    return 0;
  }
  const unknown = named.filter((name) => !there.includes(name));
  if (unknown.length > 0) {
    console.error(`There is no ${unknown.join(', ')} in bench/micro. There are: ${there.join(', ')}.`);
    return 2;
  }
  const failed = [];
  for (const name of there.filter((one) => named.length === 0 || named.includes(one))) {
    console.log(`\n# ${name}\n`);
    if (run(join('bench', 'micro', `${name}.ts`), []) !== 0) failed.push(name);
  }
  if (failed.length > 0) console.error(`\nFailed: ${failed.join(', ')}.`);
  return failed.length === 0 ? 0 : 1;
}

function run(program, options) {
  const command = ['--import', 'tsx', join(root, program), ...options];
  return spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' }).status ?? 1;
}
