import { dirname, resolve } from 'node:path';
import type { ConfigSource, ModelEntry } from '../domain/config-source.ts';
import type { JsonObject, JsonValue } from '../domain/virtual-key.ts';
import { editDistance } from '../util/nearest-name.ts';
import { checkSection, checkValue, place, type Remarks } from './check-section.ts';
import { type Environment, holdsReference, replaceEnvironmentReferences } from './environment-references.ts';
import { GENERAL_SETTINGS_KEYS } from './known/general-settings.ts';
import { BODY_FIELDS, LITELLM_PARAMS_KEYS, MODEL_INFO_KEYS, PRICE_KEY } from './known/litellm-params.ts';
import { LITELLM_SETTINGS_KEYS } from './known/litellm-settings.ts';
import { ROUTER_SETTINGS_KEYS } from './known/router-settings.ts';
import { MODEL_ENTRY_KEYS, TOP_LEVEL_KEYS } from './known/top-level.ts';
import { ConfigError } from './settings-error.ts';
import { kindOf, pathText, readYamlFile, type YamlFile, type YamlPath } from './yaml-file.ts';

export interface LoadedConfig {
  readonly source: ConfigSource;
  /** Sentences for the operator; none of them stops the start. */
  readonly warnings: readonly string[];
  /** Known settings of LiteLLM that have a value here and no effect in this version; also summed up in `warnings`. */
  readonly ignoredKeys: readonly string[];
  /** The file and all it includes, absolute. */
  readonly files: readonly string[];
}

/** Files that include each other more deeply are refused. */
const INCLUDE_DEPTH_MAX = 10;

/**
 * Reads `config.yaml` with what it includes: checks types and names, replaces `os.environ/NAME`, and merges. Throws `ConfigError`
 * with file and line for what can not be started with.
 */
export function loadConfigFile(path: string, env: Environment): LoadedConfig {
  const remarks: Remarks = { warnings: [], ignoredKeys: new Set() };
  const files = readWithIncludes(resolve(path), [], remarks);
  const environmentVariables = readEnvironmentVariables(files, env, remarks);
  const variables: Environment = { ...env, ...environmentVariables };

  const models: ModelEntry[] = [];
  const sections = { litellm_settings: {}, general_settings: {}, router_settings: {} } satisfies Record<
    string,
    JsonObject
  >;
  for (const file of files) {
    const root = withoutReferences(file, file.root, variables, remarks);
    checkSection(file, [], root, TOP_LEVEL_KEYS, remarks);
    models.push(...readModels(file, root['model_list'] ?? null, remarks));
    for (const [name, table] of SECTIONS) {
      const section = root[name] ?? null;
      if (section === null) continue;
      const checked = checkSection(file, [name], mapAt(file, [name], section), table, remarks);
      for (const key of Object.keys(checked)) {
        if (key in sections[name])
          remarks.warnings.push(place(file, [name, key], `${name}.${key} replaces the value of ${files[0]?.path}.`));
      }
      Object.assign(sections[name], checked);
    }
  }

  const ignoredKeys = [...remarks.ignoredKeys].sort();
  if (ignoredKeys.length > 0) {
    remarks.warnings.push(
      `${path}: these settings are known but have no effect in this version: ${ignoredKeys.join(', ')}. See docs/reference/config.md.`,
    );
  }
  return {
    source: {
      models,
      litellmSettings: sections.litellm_settings,
      generalSettings: sections.general_settings,
      routerSettings: sections.router_settings,
      environmentVariables,
    },
    warnings: remarks.warnings,
    ignoredKeys,
    files: files.map((file) => file.path),
  };
}

const SECTIONS = [
  ['litellm_settings', LITELLM_SETTINGS_KEYS],
  ['general_settings', GENERAL_SETTINGS_KEYS],
  ['router_settings', ROUTER_SETTINGS_KEYS],
] as const;

function readWithIncludes(path: string, parents: readonly string[], remarks: Remarks): YamlFile[] {
  const file = readYamlFile(path);
  const files = [file];
  const include = file.root['include'] ?? null;
  if (include === null) return files;
  if (!Array.isArray(include)) {
    throw new ConfigError(
      path,
      file.lineOf(['include']),
      `include must be a list of paths, but it is ${kindOf(include)}.`,
    );
  }
  include.forEach((entry, index) => {
    const at = ['include', index];
    if (typeof entry !== 'string') {
      throw new ConfigError(path, file.lineOf(at), `${pathText(at)} must be a path, but it is ${kindOf(entry)}.`);
    }
    const included = resolve(dirname(path), entry);
    if (included === path || parents.includes(included)) {
      throw new ConfigError(
        path,
        file.lineOf(at),
        `${entry} includes itself, by way of ${[...parents, path].join(', ')}.`,
      );
    }
    if (parents.length + 1 >= INCLUDE_DEPTH_MAX) {
      throw new ConfigError(
        path,
        file.lineOf(at),
        `files include each other more than ${INCLUDE_DEPTH_MAX} levels deep.`,
      );
    }
    try {
      files.push(...readWithIncludes(included, [...parents, path], remarks));
    } catch (error) {
      if (error instanceof ConfigError && error.file === included && error.line === null) {
        throw new ConfigError(path, file.lineOf(at), `${entry} is included here. ${error.message}`, { cause: error });
      }
      throw error;
    }
  });
  return files;
}

/** They come first, because references anywhere else may mean them. */
function readEnvironmentVariables(
  files: readonly YamlFile[],
  env: Environment,
  remarks: Remarks,
): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const file of files) {
    const at = ['environment_variables'];
    const section = file.root['environment_variables'] ?? null;
    if (section === null) continue;
    for (const [name, written] of Object.entries(mapAt(file, at, section))) {
      const value = replaceEnvironmentReferences(
        written,
        { ...env, ...variables },
        (path, sentence) => remarks.warnings.push(place(file, path, sentence)),
        [...at, name],
      );
      if (value === null) continue;
      if (typeof value === 'object') checkValue(file, [...at, name], value, ['string']);
      // Booleans as Python's `str` writes them, because that is what `True`-like checks elsewhere were written against.
      variables[name] = typeof value === 'boolean' ? (value ? 'True' : 'False') : String(value);
    }
  }
  return variables;
}

function withoutReferences(file: YamlFile, root: JsonObject, env: Environment, remarks: Remarks): JsonObject {
  // These are replaced already, and a reference that is missing there was said once.
  const { environment_variables: _, ...rest } = root;
  const warn = (path: YamlPath, sentence: string): void => {
    remarks.warnings.push(place(file, path, sentence));
  };
  return replaceEnvironmentReferences(rest, env, warn) as JsonObject;
}

function readModels(file: YamlFile, list: JsonValue, remarks: Remarks): ModelEntry[] {
  if (list === null) return [];
  return (checkValue(file, ['model_list'], list, ['list']) as JsonValue[]).map((item, index) => {
    const at = ['model_list', index];
    const entry = checkSection(file, at, mapAt(file, at, item), MODEL_ENTRY_KEYS, remarks);
    const required = (key: string): JsonValue => {
      const value = entry[key];
      if (value !== undefined) return value;
      throw new ConfigError(
        file.path,
        file.lineOf(at),
        `${pathText(at)} has no ${key}; model_name and litellm_params are required.`,
      );
    };
    const modelName = required('model_name') as string;
    const params = required('litellm_params') as JsonObject;
    const paramsAt = [...at, 'litellm_params'];
    const litellmParams = checkSection(file, paramsAt, params, LITELLM_PARAMS_KEYS, remarks, (key, nearest) =>
      unknownParameter([...paramsAt, key], key, nearest),
    );
    if (litellmParams['model'] === undefined || litellmParams['model'] === '') {
      throw new ConfigError(
        file.path,
        file.lineOf(paramsAt),
        `${pathText(paramsAt)} has no model; write for example model: openai/gpt-4o.`,
      );
    }
    const infoAt = [...at, 'model_info'];
    const modelInfo = checkSection(
      file,
      infoAt,
      (entry['model_info'] ?? {}) as JsonObject,
      MODEL_INFO_KEYS,
      remarks,
      () => null,
    );
    const writtenParams = writtenParamsOf(file, index);
    return { modelName, litellmParams, ...(writtenParams === null ? {} : { writtenParams }), modelInfo };
  });
}

/** The parameters with their references, checked like the others; null when there are none. */
function writtenParamsOf(file: YamlFile, index: number): JsonObject | null {
  const list = file.root['model_list'];
  const entry = Array.isArray(list) ? list[index] : undefined;
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return null;
  const params = entry['litellm_params'];
  if (typeof params !== 'object' || params === null || Array.isArray(params) || !holdsReference(params)) return null;
  const said: Remarks = { warnings: [], ignoredKeys: new Set() };
  return checkSection(file, ['model_list', index, 'litellm_params'], params, LITELLM_PARAMS_KEYS, said, () => null);
}

/** Unknown parameters go to the provider, so only what is almost the name of a setting is worth a word. */
function unknownParameter(path: YamlPath, key: string, nearest: string | null): string | null {
  if (BODY_FIELDS.has(key) || PRICE_KEY.test(key)) return null;
  if (nearest === null || editDistance(key, nearest) > 2) return null;
  return `${pathText(path)} is not a known setting and is sent to the provider in each request. Did you mean ${nearest}?`;
}

function mapAt(file: YamlFile, path: YamlPath, value: JsonValue): JsonObject {
  return checkValue(file, path, value, ['map']) as JsonObject;
}
