import { readFileSync } from 'node:fs';
import type { Environment } from './environment-references.ts';
import { SettingsError } from './settings-error.ts';

/** The variables of a `.env` file, or none when there is no such file. */
export function readDotEnv(path: string, env: Environment): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'EISDIR' || code === 'ENOTDIR') return {};
    throw new SettingsError(
      `${path} can not be read (${code}). Make it readable for this account, remove it, or set LITELLM_MODE=PRODUCTION.`,
    );
  }
  return parseDotEnv(text, env);
}

/**
 * The format of `python-dotenv`: `NAME=value` with an optional `export`, `#` comments, single quotes (as is), double quotes (with
 * escapes; both may span lines), and `${NAME}` or `${NAME:-default}` outside of single quotes. Lines of another form are skipped.
 */
export function parseDotEnv(text: string, env: Environment): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const match of text.replace(/\r\n?/g, '\n').matchAll(ASSIGNMENT)) {
    const [, name, single, double, bare] = match;
    if (name === undefined) continue;
    const lookUp = (wanted: string): string | undefined => env[wanted] ?? variables[wanted];
    if (single !== undefined) variables[name] = single.replace(/\\(['\\])/g, '$1');
    else if (double !== undefined) variables[name] = expand(double.replace(/\\(.)/gs, unescaped), lookUp);
    else variables[name] = expand((bare ?? '').replace(/(^|\s)#.*$/, '').trim(), lookUp);
  }
  return variables;
}

const ASSIGNMENT =
  /^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=[ \t]*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|([^\n]*))[^\n]*$/gm;

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', "'": "'", '\\': '\\', $: '$' };

function unescaped(whole: string, character: string): string {
  return ESCAPES[character] ?? whole;
}

function expand(value: string, lookUp: (name: string) => string | undefined): string {
  return value.replace(/\$\{([^}:]+)(?::-([^}]*))?\}/g, (_whole, name: string, fallback?: string) => {
    return lookUp(name) ?? fallback ?? '';
  });
}
