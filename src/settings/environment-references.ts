import type { JsonValue } from '../domain/virtual-key.ts';
import { pathText, type YamlPath } from './yaml-file.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The value with each text `os.environ/NAME` replaced by the variable, at any depth. A variable that is not set becomes null, as
 * with LiteLLM, and `onMissing` hears of it.
 */
export function replaceEnvironmentReferences(
  value: JsonValue,
  env: Environment,
  onMissing: (path: YamlPath, sentence: string) => void,
  path: YamlPath = [],
): JsonValue {
  if (typeof value === 'string') {
    if (!value.startsWith(PREFIX)) return value;
    const name = value.slice(PREFIX.length).trim();
    const found = env[name];
    if (found !== undefined) return found;
    onMissing(path, `${pathText(path)} refers to the environment variable ${name}, which is not set.`);
    return null;
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => replaceEnvironmentReferences(item, env, onMissing, [...path, index]));
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        replaceEnvironmentReferences(item, env, onMissing, [...path, key]),
      ]),
    );
  }
  return value;
}

export function isReference(value: JsonValue): boolean {
  return typeof value === 'string' && value.startsWith(PREFIX);
}

export function holdsReference(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null) return isReference(value);
  return Object.values(value).some(holdsReference);
}

const PREFIX = 'os.environ/';
