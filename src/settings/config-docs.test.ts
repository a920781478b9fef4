/**
 * `docs/reference/config.md` is made from the tables that the program itself checks by (`npx vitest run
 * src/settings/config-docs.test.ts -u` writes it), and the tables are held against the code here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SERVE_OPTIONS } from '../cli/serve-options.ts';
import { isControlParam } from '../domain/litellm-params.ts';
import { providerEntry, providerPrefixes } from '../domain/provider-catalogue.ts';
import { KNOWN_VARIABLES } from './known/environment.ts';
import { GENERAL_SETTINGS_KEYS } from './known/general-settings.ts';
import type { KnownKey } from './known/known-key.ts';
import { LITELLM_PARAMS_KEYS, MODEL_INFO_KEYS } from './known/litellm-params.ts';
import { LITELLM_SETTINGS_KEYS } from './known/litellm-settings.ts';
import { ROUTER_SETTINGS_KEYS } from './known/router-settings.ts';
import { MODEL_ENTRY_KEYS, TOP_LEVEL_KEYS } from './known/top-level.ts';

const root = resolve(import.meta.dirname, '../..');

const sections: readonly (readonly [string, ReadonlyMap<string, KnownKey>])[] = [
  ['Top level', TOP_LEVEL_KEYS],
  ['`model_list[]`', MODEL_ENTRY_KEYS],
  ['`model_list[].litellm_params`', LITELLM_PARAMS_KEYS],
  ['`model_list[].model_info`', MODEL_INFO_KEYS],
  ['`litellm_settings`', LITELLM_SETTINGS_KEYS],
  ['`general_settings`', GENERAL_SETTINGS_KEYS],
  ['`router_settings`', ROUTER_SETTINGS_KEYS],
];

/** All of `src/` but the tables themselves and tests. */
const code = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.startsWith(join('settings', 'known')))
  .map((path) => readFileSync(join(root, 'src', path), 'utf8'))
  .join('\n');

it('docs/reference/config.md says what the program knows', async () => {
  await expect(page()).toMatchFileSnapshot(join(root, 'docs/reference/config.md'));
});

describe('keys that are acted on', () => {
  it.each(sections)('of %s are read somewhere', (_title, table) => {
    const read = (name: string): boolean => new RegExp(`\\b${name}\\b`).test(code);
    const unread = [...table.values()].filter(({ acted, name }) => acted && !read(name)).map(({ name }) => name);
    expect(unread.filter((name) => name !== 'litellm_license')).toEqual([]);
  });

  it('and all others of litellm_params are kept from the provider', () => {
    expect([...LITELLM_PARAMS_KEYS.keys()].filter((name) => !isControlParam(name))).toEqual([]);
  });
});

describe('environment variables', () => {
  const reads = /\b(?:readText|readFlag|flag|either|proxy)\((?:env, )?'([A-Z][A-Z0-9_]+)'|\benv\.([A-Z][A-Z0-9_]+)\b/g;
  const named = new Set(Array.from(code.matchAll(reads), (match) => match[1] ?? match[2]!));

  it('that are read are listed as acted on', () => {
    expect(named.size).toBeGreaterThan(20);
    const acted = new Set(KNOWN_VARIABLES.filter((variable) => variable.acted).map(({ name }) => name));
    expect([...named].filter((name) => !acted.has(name))).toEqual([]);
  });

  it('that are listed as acted on are read, and none is listed twice', () => {
    const names = KNOWN_VARIABLES.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    expect(KNOWN_VARIABLES.filter(({ acted, name }) => acted && !named.has(name)).map(({ name }) => name)).toEqual([]);
  });

  it('of options exist', () => {
    const names = new Set(KNOWN_VARIABLES.map(({ name }) => name));
    expect(SERVE_OPTIONS.filter(({ variable }) => !names.has(variable.split('=')[0]!))).toEqual([]);
  });
});

function page(): string {
  return `# Configuration

Everything that shapes an instance, where it can be written, and whether this version acts on it. A setting is taken from the command line, else
from the environment, else from \`config.yaml\`, else it has its default. This page is made from the tables that the program
checks a configuration by.

Status: **acted on** means that the setting does what LiteLLM's documentation says of it, or what the table says; **not yet**
means that it is accepted and its type is checked, so that an existing configuration starts, and that it has no effect in
this version. At start one line of the log names the settings with a value and without effect.

- An unknown key in \`config.yaml\` is named in a warning with file, line, and the nearest known name; the start goes on.
- A value of the wrong type, a duplicate key, or a file that is no map stops the start with file, line and what was expected.
  Text that plainly is a number or \`true\`/\`false\` is taken as that.
- Empty values count as not written.
- \`claviger doctor\` checks the configuration, the data directory, the database, the clock and the way to the providers
  without changing anything, and says what to do.

## Command line

\`claviger serve\` (or only \`claviger\`, or \`npm start -- \`) takes LiteLLM's options; \`--num-workers\` and \`--num_workers\` are the same.

${table(
  ['Option', 'Variable', 'Meaning'],
  SERVE_OPTIONS.map(({ flags, meaning, variable }) => [`\`${flags}\``, `\`${variable}\``, meaning]),
)}

| Command | Meaning |
|---|---|
| \`claviger serve\` | Runs an instance; the default command. |
| \`claviger doctor [--config <path>] [--json]\` | Checks everything an instance needs; exit code 1 when something would fail. |
| \`claviger migrate [--config <path>] [--check]\` | Brings the schema of \`DATABASE_URL\` up to this version; with \`--check\` it only looks. |
| \`claviger models apply <file> [--url <address>] [--key <key>] [--dry_run] [--prune]\` | Brings the models of the database to the \`model_list\` of a file; [Models](../guides/models.md). |
| \`claviger demo [--run] [--dir <path>]\` | Runs an admin, two regions and their database on this machine, with a tour; with \`--run\` it makes the tour itself, exit code 1 when something was not as it says. |
| \`claviger version\` | Prints the version. |

## Environment variables

A file \`.env\` in the working directory is read first, unless \`LITELLM_MODE=PRODUCTION\`; it never replaces a variable that is
set. The three \`DISABLE_*\` switches take \`true\` and \`false\` in any case; \`1\`, \`yes\`, \`on\` and their opposites work with a
warning, because LiteLLM ignores them, and any other text stops the start. With \`DISABLE_LLM_API_ENDPOINTS\` an instance is
an admin, with \`DISABLE_ADMIN_ENDPOINTS\` a worker, with neither standalone; with both it serves health and metrics only.

${table(
  ['Variable', 'Default', 'Status', 'Meaning'],
  KNOWN_VARIABLES.map(({ acted, default: standard, meaning, name }) => [
    `\`${name}\``,
    standard === '' ? '' : `\`${standard}\``,
    acted ? 'acted on' : 'not yet',
    meaning,
  ]),
)}

### Secrets

Without \`DATABASE_URL\`, a master key and a salt key that are not set are made at the first start and kept in the data
directory (\`master-key\`, \`salt-key\`, mode 0600; a file that other accounts can read is refused). With \`DATABASE_URL\` the
master key must be set, to the same value on every instance; without \`LITELLM_SALT_KEY\` secrets in the database are sealed
with the master key, with a warning.

### Providers

Where \`litellm_params\` has no \`api_key\` or \`api_base\`, the first variable that is set is used.

${table(
  ['Prefix', 'Key', 'Base URL', 'Default base URL'],
  providerPrefixes().map((prefix) => {
    const { apiBase, apiBaseEnv, apiKeyEnv } = providerEntry(prefix)!;
    const names = (list: readonly string[]): string => list.map((name) => `\`${name}\``).join(', ');
    return [`\`${prefix}/\``, names(apiKeyEnv), names(apiBaseEnv), apiBase === null ? '' : `\`${apiBase}\``];
  }),
)}

## config.yaml

Any text \`os.environ/NAME\` is replaced by the variable, at any depth; a variable that is not set is named in a warning and
leaves the setting empty. The file belongs to its instance and is never written to the database. It is read as YAML 1.1, as
LiteLLM reads it (\`yes\` and \`on\` are true), but dates and times of day stay text.
${sections.map(([title, keys]) => `\n### ${title}\n${note(title)}\n${table(['Key', 'Type', 'Status', 'Meaning'], [...keys.values()].map(keyRow))}\n`).join('')}`;
}

function note(title: string): string {
  if (title.includes('litellm_params')) {
    return '\nAny other key is sent to the provider as a default of the request body, which a client may override.\n';
  }
  return title.includes('model_info') ? '\nAny other key is kept.\n' : '';
}

function keyRow({ acted, meaning, name, types }: KnownKey): string[] {
  return [`\`${name}\``, types.join(' or '), acted ? 'acted on' : 'not yet', meaning];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}
