import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

interface Rule {
  /** Folders of `src/` that may be imported, besides the own one. */
  readonly folders: readonly string[];
  readonly packages: readonly string[];
  /** Modules of Node itself. */
  readonly node: boolean;
  /** Folders of which only types may be imported. */
  readonly typesOf?: readonly string[];
  /** Folders and files that may be imported only by `import()`, when they are needed. */
  readonly lazily?: readonly string[];
  readonly why: string;
}

/** "Who may import whom" of docs/architecture.md. `process` and `main.ts` may import everything: they compose the rest. */
const rules: Readonly<Record<string, Rule>> = {
  domain: { folders: [], packages: [], node: false, why: 'domain is shared with the browser and stays pure' },
  util: { folders: [], packages: [], node: true, why: 'util knows no domain' },
  contract: { folders: ['domain'], packages: ['zod'], node: false, why: 'contract is a description and does no I/O' },
  feed: { folders: ['domain', 'util'], packages: [], node: true, why: 'both planes speak the feed; neither owns it' },
  settings: { folders: ['domain', 'util'], packages: ['zod', 'yaml'], node: true, why: 'settings is a leaf service' },
  observe: { folders: ['domain', 'util'], packages: [], node: true, why: 'observe is a leaf service' },
  prices: {
    folders: ['domain', 'util', 'observe'],
    packages: ['@pydantic/genai-prices'],
    node: true,
    why: 'prices is a leaf service',
  },
  storage: {
    folders: ['domain', 'util', 'observe'],
    packages: ['kysely', 'pg'],
    node: true,
    why: 'storage knows no HTTP and no plane',
  },
  gateway: {
    folders: ['domain', 'feed', 'observe', 'util'],
    packages: ['undici'],
    node: true,
    typesOf: ['settings'],
    why: 'a worker has no database and no admin code: no storage, control, contract, zod, Kysely, pg or Hono in the gateway',
  },
  control: {
    folders: ['domain', 'contract', 'feed', 'storage', 'settings', 'observe', 'util'],
    packages: ['hono', '@hono/node-server'],
    node: true,
    why: 'the planes meet only in the feed, so the control plane imports nothing of the gateway',
  },
  cli: {
    folders: ['domain', 'contract', 'settings', 'util'],
    packages: ['commander'],
    node: true,
    lazily: ['main.ts', 'storage', 'prices'],
    why: 'the command line does everything else through the management API, like any client, and starts fast',
  },
};
const free = ['process', 'main.ts'];

interface Import {
  readonly target: string;
  readonly typeOnly: boolean;
  readonly lazy: boolean;
}

test('every folder of src imports only what it may', () => {
  const files = sources('src');
  expect(files.length).toBeGreaterThan(10);
  expect(files.flatMap((file) => violations(file, importsOf(readFileSync(join(root, file), 'utf8'))))).toEqual([]);
});

test('every folder of src has a rule', () => {
  const folders = new Set(sources('src').map((file) => folderOf(file)));
  expect([...folders].filter((folder) => rules[folder] === undefined && !free.includes(folder))).toEqual([]);
});

test('nothing in src imports tests or benchmarks, or reaches out of src', () => {
  const outward = sources('src').flatMap((file) =>
    importsOf(readFileSync(join(root, file), 'utf8'))
      .filter(({ target }) => target.startsWith('.') && !resolveFrom(file, target).startsWith('src/'))
      // The version is kept in one place.
      .filter(({ target }) => resolveFrom(file, target) !== 'package.json')
      .map(({ target }) => `${file} imports ${target}`),
  );
  expect(outward).toEqual([]);
});

test.each([
  ['src/domain/a.ts', `import { x } from '../util/b.ts';`],
  ['src/domain/a.ts', `import fs from 'node:fs';`],
  ['src/gateway/live/a.ts', `import { pool } from '../../storage/pool.ts';`],
  ['src/gateway/a.ts', `import {\n  type Settings,\n  parse,\n} from '../settings/settings.ts';`],
  ['src/gateway/a.ts', `export * from '../control/b.ts';`],
  ['src/gateway/a.ts', `import 'zod';`],
  ['src/gateway/a.ts', `import { x } from 'zod/v4';`],
  ['src/control/a.ts', `const x = await import('../gateway/server.ts');`],
  ['src/cli/main.ts', `import { serve } from '../main.ts';`],
  ['src/observe/log.ts', `import { readConfig } from '../settings/a.ts';`],
])('the rules refuse, in %s: %s', (file, text) => {
  expect(violations(file, importsOf(text))).toHaveLength(1);
});

test.each([
  ['src/gateway/a.ts', `import type { Settings } from '../settings/settings.ts';`],
  ['src/gateway/live/a.ts', `import { x } from './b.ts';\nimport { request } from 'undici';`],
  ['src/cli/main.ts', `const { serve } = await import('../main.ts');`],
  ['src/process/supervisor.ts', `import { x } from '../gateway/a.ts';\nimport { y } from '../control/a.ts';`],
  ['src/domain/a.ts', `// import { x } from '../util/b.ts';\n/* import 'zod'; */`],
])('the rules allow, in %s: %s', (file, text) => {
  expect(violations(file, importsOf(text))).toEqual([]);
});

function violations(file: string, imports: readonly Import[]): string[] {
  const folder = folderOf(file);
  const rule = rules[folder];
  if (rule === undefined) return [];
  return imports
    .filter((entry) => !allowed(file, folder, rule, entry))
    .map(({ target }) => `${file} imports ${target}: ${rule.why}`);
}

function allowed(file: string, folder: string, rule: Rule, { target, typeOnly, lazy }: Import): boolean {
  if (target.startsWith('node:')) return rule.node;
  if (!target.startsWith('.')) return rule.packages.includes(packageOf(target));
  const path = resolveFrom(file, target);
  // What is outside of src has its own test.
  if (!path.startsWith('src/')) return true;
  const other = folderOf(path);
  return (
    other === folder ||
    rule.folders.includes(other) ||
    (typeOnly && (rule.typesOf ?? []).includes(other)) ||
    (lazy && (rule.lazily ?? []).includes(other))
  );
}

function importsOf(text: string): Import[] {
  const code = text.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '');
  const eager = [...code.matchAll(/^[ \t]*(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s*)?['"]([^'"]+)['"]/gm)];
  const lazy = [...code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)];
  return [
    ...eager.map(([, type, target]) => ({ target: String(target), typeOnly: type !== undefined, lazy: false })),
    ...lazy.map(([, target]) => ({ target: String(target), typeOnly: false, lazy: true })),
  ];
}

/** The folder below `src/`, or the name of a file that lies there itself. */
function folderOf(file: string): string {
  return file.split('/')[1] ?? '';
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function resolveFrom(file: string, target: string): string {
  return posix.join(posix.dirname(file), target);
}

/** Tests may import anything. */
function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[mc]?tsx?$/.test(entry.name) && !/\.test\.tsx?$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
}
