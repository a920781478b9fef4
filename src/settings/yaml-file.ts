import { readFileSync } from 'node:fs';
import { isScalar, LineCounter, parseDocument, type Tags } from 'yaml';
import type { JsonObject, JsonValue } from '../domain/virtual-key.ts';
import { ConfigError } from './settings-error.ts';

/** A place in the document: keys and indexes from the root. */
export type YamlPath = readonly (string | number)[];

/** A YAML file whose root is a map (or nothing), as plain data that still knows where it stood. */
export interface YamlFile {
  readonly path: string;
  readonly root: JsonObject;
  /** 1-based line of the value, or of the nearest thing around it that has a line. */
  lineOf(path: YamlPath): number | null;
  /** A scalar as it is written (`007`, `2024-10`), or null. */
  sourceOf(path: YamlPath): string | null;
}

/** A larger file is refused: it is not a configuration. */
export const CONFIG_BYTES_MAX = 16 * 1024 * 1024;
/** Nesting beyond it is refused, before recursion runs out of stack. */
const DEPTH_MAX = 100;

export function readYamlFile(path: string): YamlFile {
  const text = readText(path);
  const lines = new LineCounter();
  // Messages with a piece of the file in them are off (`prettyErrors`): the piece may be a key of a provider.
  const document = parseDocument(text, {
    version: '1.1',
    customTags: readableTags,
    lineCounter: lines,
    prettyErrors: false,
  });
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  const [mistake] = document.errors;
  if (mistake !== undefined) {
    throw new ConfigError(path, lineAt(mistake.pos[0]), `this is not valid YAML: ${mistake.message}`);
  }

  const lineOf = (at: YamlPath): number | null => {
    for (let length = at.length; length >= 0; length -= 1) {
      const node = nodeAt(at.slice(0, length));
      const offset = node?.range?.[0];
      if (offset !== undefined) return lineAt(offset);
    }
    return null;
  };
  const nodeAt = (at: YamlPath): { range?: readonly number[] | null } | undefined => {
    const node: unknown = at.length === 0 ? document.contents : document.getIn(at, true);
    return typeof node === 'object' && node !== null ? node : undefined;
  };

  let root: unknown;
  try {
    root = document.toJS() ?? {};
  } catch (error) {
    throw new ConfigError(
      path,
      null,
      `this YAML can not be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (typeof root !== 'object' || root === null || Array.isArray(root)) {
    throw new ConfigError(
      path,
      lineOf([]),
      `a map with keys such as model_list was expected, but the file is ${kindOf(root)}.`,
    );
  }
  return {
    path,
    root: plainJson(root, [], (at, found) => {
      throw new ConfigError(path, lineOf(at), `${pathText(at)} is ${found}, which can not be used here.`);
    }) as JsonObject,
    lineOf,
    sourceOf: (at) => {
      const node = nodeAt(at);
      return isScalar(node) ? (node.source ?? null) : null;
    },
  };
}

/** `model_list[0].litellm_params.model` */
export function pathText(path: YamlPath): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text === '' ? 'the file' : text;
}

/** What a value is, in words and without showing it. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'string') return 'a text';
  if (typeof value === 'boolean') return 'true or false';
  return Number.isInteger(value) ? 'an integer' : 'a number';
}

/**
 * YAML 1.1, because that is what LiteLLM reads (`yes` and `on` are true), without its surprises: dates stay text
 * (`api_version: 2024-10-21`), and so does `12:30`, which is not 750.
 */
function readableTags(tags: Tags): Tags {
  return tags.filter((tag) => {
    if (typeof tag === 'string') return tag !== 'timestamp' && tag !== 'intTime' && tag !== 'floatTime';
    if (tag.tag === 'tag:yaml.org,2002:timestamp') return false;
    return !('format' in tag && tag.format === 'TIME');
  });
}

function readText(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason =
      code === 'ENOENT'
        ? 'the file does not exist'
        : code === 'EACCES'
          ? 'this account may not read the file'
          : code === 'EISDIR'
            ? 'this is a directory, not a file'
            : `the file can not be read (${code})`;
    throw new ConfigError(path, null, `${reason}. Give the path of a config.yaml with --config or CONFIG_FILE_PATH.`);
  }
  if (bytes.length > CONFIG_BYTES_MAX) {
    throw new ConfigError(path, null, `the file has ${bytes.length} bytes, and at most ${CONFIG_BYTES_MAX} are read.`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError(path, null, 'the file is not UTF-8 text.');
  }
}

function plainJson(value: unknown, at: YamlPath, refuse: (at: YamlPath, found: string) => never): JsonValue {
  if (at.length > DEPTH_MAX) refuse(at.slice(0, 3), `nested more than ${DEPTH_MAX} levels deep`);
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : refuse(at, 'not a finite number');
  if (Array.isArray(value)) return value.map((item, index) => plainJson(item, [...at, index], refuse));
  if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    const entries = Object.entries(value).map(([key, item]) => [key, plainJson(item, [...at, key], refuse)] as const);
    return Object.fromEntries(entries);
  }
  return refuse(at, 'of a special YAML type');
}
