import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { buildStampPath, ensureInstalled, fail, root, sourceHash } from './lib/prepare.mjs';

// `npm run build`: src/ to dist/. Built beside it and swapped, so that a broken build leaves the last good one.
ensureInstalled();
// Taken before compiling: a file that is saved meanwhile makes the next start build again.
const hash = sourceHash();
const source = join(root, 'src');
const target = join(root, 'dist');
const building = join(root, `dist.building-${process.pid}`);
const replaced = join(root, `dist.replaced-${process.pid}`);
process.on('exit', () => {
  for (const directory of [building, replaced]) rmSync(directory, { recursive: true, force: true });
});

const compiled = spawnSync(
  process.execPath,
  [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json', '--outDir', building],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
);
if (compiled.status !== 0) fail('tsc found errors');

for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || /\.tsx?$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const copy = join(building, relative(source, path));
  mkdirSync(dirname(copy), { recursive: true });
  cpSync(path, copy);
}
const program = join(building, 'cli', 'main.js');
if (existsSync(program)) chmodSync(program, 0o755);
writeFileSync(join(building, relative(target, buildStampPath)), hash);

if (existsSync(target)) renameSync(target, replaced);
renameSync(building, target);
