import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ensureBuilt, ensureInstalled, fail, root } from './lib/prepare.mjs';
import { productionManifests } from './lib/production-tree.mjs';

// `node scripts/package.mjs DIRECTORY`: what `npm pack` publishes plus its production packages. The directory starts
// without a network, as any user, on amd64 and arm64; it is what images copy. The embedded PostgreSQL is not in it.
const target = process.argv[2] === undefined ? null : resolve(process.argv[2]);
if (target === null) fail('usage: node scripts/package.mjs DIRECTORY');
if (existsSync(target) && readdirSync(target).length > 0)
  fail(`${target} is not empty; name a directory that is new or empty`);

ensureInstalled();
ensureBuilt();
mkdirSync(dirname(target), { recursive: true });
// Beside the target, so that the last step is a rename.
const work = mkdtempSync(join(dirname(target), '.claviger-package-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

run('npm', ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', work], root);
const archive = readdirSync(work).find((name) => name.endsWith('.tgz'));
if (archive === undefined) fail('npm pack wrote no archive');
run('tar', ['-xzf', archive], work);

const directory = join(work, 'package');
const { manifest, lock } = productionManifests();
writeJson('package.json', manifest);
writeJson('package-lock.json', lock);
run(
  'npm',
  [
    'ci',
    '--omit=dev',
    '--omit=optional',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    '--loglevel=error',
  ],
  directory,
);
const native = readdirSync(directory, { recursive: true }).filter((path) => String(path).endsWith('.node'));
if (native.length > 0) fail(`${native[0]} is compiled for one platform; the directory must work on all`);
// Readable for whatever user it runs as, writable for nobody else than its owner.
run('chmod', ['-R', 'u=rwX,go=rX', directory], work);
rmSync(target, { recursive: true, force: true });
renameSync(directory, target);
process.stderr.write(`${target}: claviger ${manifest.version}, ready to be copied\n`);

function writeJson(name, value) {
  writeFileSync(join(directory, name), `${JSON.stringify(value, null, 2)}\n`);
}

function run(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  if (result.status !== 0) fail(`${command} ${args[0]} failed; the reason is above`);
}
