import type { JsonObject } from './virtual-key.ts';

/** One `model_list` entry as validated; `os.environ/NAME` references are already replaced. */
export interface ModelEntry {
  readonly modelName: string;
  readonly litellmParams: JsonObject;
  /** `litellmParams` before references were replaced; absent: there were none. Ids are derived from it. */
  readonly writtenParams?: JsonObject;
  readonly modelInfo: JsonObject;
  /** Absent: the file of the instance. */
  readonly origin?: 'database';
}

/** `config.yaml` (or nothing), validated and with references replaced, before it is compiled. Plain data. */
export interface ConfigSource {
  readonly models: readonly ModelEntry[];
  readonly litellmSettings: JsonObject;
  readonly generalSettings: JsonObject;
  readonly routerSettings: JsonObject;
  readonly environmentVariables: Readonly<Record<string, string>>;
}

export const EMPTY_CONFIG_SOURCE: ConfigSource = {
  models: [],
  litellmSettings: {},
  generalSettings: {},
  routerSettings: {},
  environmentVariables: {},
};
