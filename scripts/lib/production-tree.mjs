import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './prepare.mjs';

/**
 * What an installation without development packages gets, read from the lockfile: `[{ path, name, ...lockfile entry }]`,
 * sorted by path; with the optional packages of all platforms.
 */
export function productionPackages() {
  return Object.entries(readJson('package-lock.json').packages)
    .filter(([path, entry]) => path.startsWith('node_modules/') && !entry.link && !entry.dev)
    .map(([path, entry]) => ({ ...entry, path, name: path.slice(path.lastIndexOf('node_modules/') + 13) }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** `package.json` and lockfile of a directory that is no workspace and knows nothing of development. */
export function productionManifests() {
  const { devDependencies: _1, workspaces: _2, scripts: _3, ...manifest } = readJson('package.json');
  const { packages, ...lock } = readJson('package-lock.json');
  const { devDependencies: _4, workspaces: _5, ...self } = packages[''];
  const wanted = Object.fromEntries(productionPackages().map(({ path }) => [path, packages[path]]));
  return { manifest, lock: { ...lock, packages: { '': self, ...wanted } } };
}

export function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}
