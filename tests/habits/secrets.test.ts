import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** Secrets of the kinds that are found and abused within minutes when they are published. */
const REAL_SECRETS: readonly [name: string, pattern: RegExp][] = [
  ['a private key', /-----BEGIN (?:RSA |EC |OPENSSH |ENCRYPTED )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}/],
  ['a key of OpenAI', /\bsk-(?:proj|svcacct|admin)-[\w-]{40,}/],
  ['a key of Anthropic', /\bsk-ant-(?:api|admin)\d\d-[\w-]{40,}/],
  ['a key of Google', /\bAIza[\w-]{35}\b/],
  ['a key of AWS', /\b(?:AKIA|ASIA)(?!IOSFODNN7EXAMPLE)[A-Z0-9]{16}\b/],
  ['a token of GitHub', /\bgh[pousr]_[A-Za-z0-9]{36}\b/],
  ['a token of npm', /\bnpm_[A-Za-z0-9]{36}\b/],
];

/** Whole objects that hold secrets, given to a log or to an error. */
const CARELESS: readonly [name: string, pattern: RegExp][] = [
  ['a log line with settings, environment, headers or a body', careless('settings|env|headers|boot|rawHeaders|body')],
  [
    'a log line with a key or a password',
    careless('masterKey|saltKey|sealingKey|apiKey|password|databaseUrl|fleetKey'),
  ],
  [
    'an error that names the database URL',
    /new \w*Error\([^;]*\$\{[\w.]*(?:databaseUrl|directUrl|masterKey|sealingKey)\b/,
  ],
  ['output past the log, which hides secrets', /\bconsole\.(?:log|info|warn|error|debug|dir|trace)\(/],
];

test('no file of the repository holds a real secret', () => {
  const files = trackedFiles();
  expect(files.length).toBeGreaterThan(100);
  expect(files.flatMap((path) => placesOf(path, readFileSync(join(root, path), 'latin1'), REAL_SECRETS))).toEqual([]);
});

test('the product gives no whole settings, headers, bodies or keys to a log or an error', () => {
  const files = filesBelow('src').filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'));
  expect(files.length).toBeGreaterThan(100);
  expect(files.flatMap((path) => placesOf(path, readFileSync(join(root, path), 'utf8'), CARELESS))).toEqual([]);
});

test('both looks find what they look for', () => {
  const random = 'Ab3Cd4Ef5Gh6Ij7Kl8Mn9Op0Qr1St2Uv3Wx4Yz5Ab6Cd7Ef8';
  const secrets = [`sk-${'proj'}-${random}`, `gh${'p'}_${random.slice(0, 36)}`, `AKI${'A'}${'ABCDEFGHIJKLMNOP'}`];
  for (const secret of secrets) expect(placesOf('f', `x = "${secret}"`, REAL_SECRETS)).toHaveLength(1);
  const lines = [
    "log.info({ settings }, 'started')",
    "this.#log.warn({ slot, headers: request.headers }, 'odd')",
    "log.error({ error, masterKey }, 'no')",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source text to be found.
    'throw new Error(`can not reach ${settings.databaseUrl}`)',
    "console.log('here')",
  ];
  for (const line of lines) expect(placesOf('f', line, CARELESS)).toHaveLength(1);
  expect(placesOf('f', "log.info({ slot, port: settings.port }, 'listening')", CARELESS)).toEqual([]);
});

/** A field of the object that a log call is given, by its name or with the value of that name whole. */
function careless(names: string): RegExp {
  return new RegExp(
    `\\blog\\.(?:debug|info|warn|error)\\(\\s*\\{(?:[^{}]*[,{\\s])?(?:${names}|[\\w]+: (?:[\\w#]+\\.)*(?:${names}))\\s*[,}:]`,
    'i',
  );
}

function placesOf(path: string, text: string, patterns: readonly [name: string, pattern: RegExp][]): string[] {
  return patterns.flatMap(([name, pattern]) => {
    const match = pattern.exec(text);
    return match === null ? [] : [`${path}:${text.slice(0, match.index).split('\n').length}: ${name}`];
  });
}

/** What would be published: of git when this is a checkout. */
function trackedFiles(): string[] {
  if (!existsSync(join(root, '.git')))
    return ['src', 'tests', 'docs', 'scripts', 'bench', 'deploy'].flatMap(filesBelow);
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  return list
    .toString()
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(root, path)));
}

function filesBelow(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}
