import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const linesMax = 600;

interface TextFile {
  readonly path: string;
  readonly text: string;
}

const code = ['src', 'tests', 'scripts', 'bench'].flatMap((folder) => filesBelow(folder, /\.(ts|tsx|mjs|sql)$/));
// This file names what it looks for.
const otherCode = code.filter(({ path }) => path !== 'tests/habits/tree.test.ts');

test(`no source file is longer than ${linesMax} lines`, () => {
  const long = code.filter(({ text }) => text.split('\n').length > linesMax + 1);
  expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length - 1}`)).toEqual([]);
});

test('things are exported by name, so that they are called the same everywhere', () => {
  const named = otherCode.filter(({ path }) => !path.endsWith('vitest.config.ts'));
  expect(places(named, /^\s*export\s+default\b|\bas default\b/)).toEqual([]);
});

// `runIf` may say what a test needs of the machine, for example to be root; it runs where that is given.
test('no test is skipped, left for later or run alone', () => {
  const tests = otherCode.filter(({ path }) => /\.test\.tsx?$/.test(path));
  expect(tests.length).toBeGreaterThan(5);
  expect(
    places(tests, /\b(test|it|describe|suite)(\.\w+)*\.(skip|skipIf|todo|only|fails)\b|\b[xf](it|describe)\(/),
  ).toEqual([]);
});

test('nothing is marked as still to be done, and no check is switched off', () => {
  expect(places(otherCode, /\b(TODO|FIXME|XXX|HACK)\b|@ts-(ignore|nocheck)/)).toEqual([]);
});

test('every invariant of a specification names a test, and the test exists', () => {
  const specifications = filesBelow('docs/specs', /\.md$/);
  const problems = specifications.flatMap(({ path, text }) => {
    const invariants = invariantsOf(text);
    if (invariants.length === 0) return [`${path}: no invariants; give each a line "- **F1** ..." and name its test`];
    return invariants.flatMap((invariant) => problemsOf(invariant).map((problem) => `${path}: ${problem}`));
  });
  expect(problems).toEqual([]);
});

test('the check of specifications notices an invariant without a test', () => {
  const text = [
    '## Invariants',
    '- **F1** holds (`tests/habits/tree.test.ts > the check of specifications`).',
    '- **F2** holds',
    '  `tests/habits/gone.test.ts`',
    '- **F3** holds',
    `  \`tests/habits/tree.test.ts > ${randomUUID()}\``,
    '| **F4** | holds | |',
    '## Else',
    '- **nothing**',
  ].join('\n');
  expect(invariantsOf(text).map((invariant) => problemsOf(invariant).length)).toEqual([0, 1, 1, 1]);
});

/**
 * Below a heading "Invariants", an invariant is a list item or table row that begins with its bold name, `- **F3** ...`.
 * Its tests stand in back-ticks: `src/a.test.ts > the beginning of the name of the test`.
 */
function invariantsOf(text: string): string[] {
  const sections = text.split(/^(?=#)/m).filter((section) => /^#+ .*\binvariants\b/i.test(section));
  return sections.flatMap((section) =>
    [...section.matchAll(/^(?:[-*]|\d+\.|\|) *\*\*.*(?:\n[ \t]+\S.*)*/gm)].map(([item]) => item),
  );
}

function problemsOf(invariant: string): string[] {
  const name = /\*\*(.*?)\*\*/.exec(invariant)?.[1] ?? invariant;
  const tests = [...invariant.matchAll(/`(\S+\.test\.tsx?)(?: > ([^`]+))?`/g)];
  if (tests.length === 0) return [`${name} names no test`];
  return tests.flatMap(([, path = '', title]) => {
    if (!existsSync(join(root, path))) return [`${name} names ${path}, which does not exist`];
    const text = readFileSync(join(root, path), 'utf8').replaceAll("\\'", "'");
    const missing = (title ?? '').split(' > ').filter((part) => !text.includes(part.trim().replace(/\s+/g, ' ')));
    return missing.map((part) => `${name}: ${path} has no test "${part}"`);
  });
}

function places(files: readonly TextFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

function filesBelow(folder: string, name: RegExp): TextFile[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && name.test(entry.name) && !entry.parentPath.includes('node_modules'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}
