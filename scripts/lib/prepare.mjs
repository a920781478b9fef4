import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/[/\\]$/, '');
export const buildStampPath = join(root, 'dist', '.build-hash');

/** Installs what the lockfile names, unless it is there already. */
export function ensureInstalled() {
  const reason = whyNotInstalled();
  if (reason === null) return;
  process.stderr.write(`Installing dependencies (${reason}) ...\n`);
  // Install scripts stay off: nothing we use needs one, and they are the usual way in for a hijacked package.
  const result = spawnSync(
    'npm',
    ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'],
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  if (result.status !== 0) fail('npm ci failed; the reason is above');
}

/** Builds `dist/` unless it was built from these very sources. */
export function ensureBuilt() {
  const hash = sourceHash();
  if (existsSync(buildStampPath) && readFileSync(buildStampPath, 'utf8') === hash) return;
  process.stderr.write('Building ...\n');
  const result = spawnSync(process.execPath, [join(root, 'scripts', 'build.mjs')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (result.status !== 0) fail('the build failed; the reason is above');
}

/** Changes with anything that the content of `dist/` depends on. */
export function sourceHash() {
  const hash = createHash('sha256');
  for (const path of [
    'package-lock.json',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/build.mjs',
  ]) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0');
  }
  const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.test\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const path of sources)
    hash
      .update(`${path.slice(root.length)}\0`)
      .update(readFileSync(path))
      .update('\0');
  return hash.digest('hex');
}

/** Compares the lockfile with the record that npm keeps of what it installed last. */
function whyNotInstalled() {
  const recordPath = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(recordPath)) return 'first time';
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(recordPath, 'utf8')).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    // Optional packages are for one platform each; links and the root are this repository.
    if (!path.includes('node_modules/') || entry.link || entry.optional || entry.devOptional) continue;
    if (present[path]?.version !== entry.version || present[path]?.integrity !== entry.integrity) {
      return `${path.slice(path.lastIndexOf('node_modules/') + 13)} ${entry.version} is missing`;
    }
  }
  return null;
}

/** @returns {never} */
export function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
