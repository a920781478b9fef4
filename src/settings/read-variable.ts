import type { Environment } from './environment-references.ts';
import { SettingsError } from './settings-error.ts';

/** Text of a variable without the blanks around it; null when it is not set or empty. */
export function readText(env: Environment, name: string): string | null {
  const text = env[name]?.trim() ?? '';
  return text === '' ? null : text;
}

export interface FlagReading {
  readonly value: boolean;
  readonly warning: string | null;
}

/**
 * A switch. `true` and `false` in any case are LiteLLM's; `1`, `yes` and `on` (and their opposites) are taken as what they say,
 * with a warning because LiteLLM would not; quotes, and a ` # comment` at the end, which some readers of env files leave there, are cut
 * with a warning. Anything else stops the start: a worker whose switch was misread would serve what it should not.
 */
export function readFlag(env: Environment, name: string): FlagReading {
  const written = readText(env, name);
  if (written === null) return { value: false, warning: null };
  const [bare, comment] = splitComment(written);
  const text = /^(["']).*\1$/.test(bare) ? bare.slice(1, -1).trim() : bare;
  const value = WORDS.get(text.toLowerCase());
  if (value === undefined) {
    throw new SettingsError(`${name} is neither true nor false. Set it to true or false, or remove it.`);
  }
  const remarks: string[] = [];
  if (comment) remarks.push('the comment behind its value is ignored');
  if (text !== bare) remarks.push('the quotes around it are ignored');
  if (!PLAIN.test(text)) remarks.push(`it is taken as ${value}, but LiteLLM would not do so`);
  return {
    value,
    warning: remarks.length === 0 ? null : `${name}: ${remarks.join('; ')}. Write ${name}=${value}.`,
  };
}

const WORDS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['0', false],
  ['no', false],
  ['off', false],
]);
const PLAIN = /^(true|false)$/i;

function splitComment(text: string): [value: string, comment: boolean] {
  const at = text.search(/\s#/);
  return at === -1 ? [text, false] : [text.slice(0, at).trim(), true];
}

/** An integer within bounds; `name` is how the operator calls the setting. */
export function parseInteger(text: string | number, name: string, min: number, max: number): number {
  const number = typeof text === 'number' ? text : /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isInteger(number) && number >= min && number <= max) return number;
  throw new SettingsError(`${name} must be an integer from ${min} to ${max}.`);
}

/** Parts of a comma-separated list, without empty ones. */
export function splitList(text: string | null): string[] {
  return (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
