import { type ConfigSource, EMPTY_CONFIG_SOURCE } from '../domain/config-source.ts';
import { loadConfigFile } from './config-yaml.ts';
import type { Environment } from './environment-references.ts';
import type { Settings } from './settings.ts';

/**
 * What this instance routes by, before it is compiled: its file, or the built-in models of an instance that was started with
 * nothing. Called again at each reload; throws `ConfigError`, upon which the caller keeps what it has.
 */
export function configSourceFor(
  settings: Pick<Settings, 'configFilePath' | 'fakeModels'>,
  env: Environment,
): { readonly source: ConfigSource; readonly warnings: readonly string[] } {
  if (settings.configFilePath !== null) return loadConfigFile(settings.configFilePath, env);
  return { source: settings.fakeModels ? FAKE_MODELS : EMPTY_CONFIG_SOURCE, warnings: [] };
}

/** Said, so that keys with a budget may call them: without a price, each call reserves `unpriced_reservation_usd`. */
const FREE = { input_cost_per_token: 0, output_cost_per_token: 0 };

/** They answer in this process, so that the first command works without an account anywhere. */
const FAKE_MODELS: ConfigSource = {
  ...EMPTY_CONFIG_SOURCE,
  models: [
    {
      modelName: 'fake-gpt',
      litellmParams: { model: 'fake/gpt', ...FREE },
      modelInfo: { id: 'fake-gpt', mode: 'chat' },
    },
    {
      modelName: 'fake-embedding',
      litellmParams: { model: 'fake/embedding', ...FREE },
      modelInfo: { id: 'fake-embedding', mode: 'embedding' },
    },
  ],
};
