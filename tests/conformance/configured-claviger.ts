import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Claviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';

/** Dollars per token of the models that have a price in the file. */
export const INPUT_PRICE = 0.0000025;
export const OUTPUT_PRICE = 0.00001;
export const PROVIDER_KEY = 'sk-provider-key-of-the-tests-0123456789';

/** Shares of the two deployments of the model `weighted`. */
export const WEIGHTS = { heavy: 3, light: 1 } as const;

export interface ConfiguredClaviger extends AsyncDisposable {
  readonly claviger: Claviger;
  readonly upstream: UpstreamServer;
}

/** A standalone instance with a `config.yaml` whose models lead to a server of the tests' own in another process. */
export async function startConfigured(litellmSettings: object = {}): Promise<ConfiguredClaviger> {
  const upstream = await startUpstream();
  const dir = await temporaryDirectory();
  try {
    const file = join(dir, 'config.yaml');
    await writeFile(file, stringify({ model_list: models(`${upstream.url}/v1`), litellm_settings: litellmSettings }));
    const claviger = await startClaviger({
      args: ['--config', file],
      env: {
        CLAVIGER_DATA_DIR: join(dir, 'data'),
        CLAVIGER_REGION: 'eu-test-1',
        UPSTREAM_KEY: PROVIDER_KEY,
        VLLM_BASE: `${upstream.url}/vllm/v1`,
        GROQ_API_BASE: `${upstream.url}/groq-of-the-environment`,
        GROQ_API_KEY: 'gsk_of-the-environment',
      },
      dir,
    });
    await waitUntilCurrent(claviger);
    return {
      claviger,
      upstream,
      async [Symbol.asyncDispose]() {
        await claviger.stop();
        await upstream.stop();
        await rm(dir, { recursive: true, force: true, maxRetries: 5 });
      },
    };
  } catch (error) {
    await upstream.stop();
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    throw error;
  }
}

function models(apiBase: string): object[] {
  const own = { api_base: apiBase, api_key: 'os.environ/UPSTREAM_KEY' };
  const price = { input_cost_per_token: INPUT_PRICE, output_cost_per_token: OUTPUT_PRICE };
  return [
    // The name is that of the provider's model, so that a request body can go through as it is.
    {
      model_name: 'up-chat',
      litellm_params: { model: 'openai/up-chat', ...own, ...price },
      model_info: { id: 'up-chat-1' },
    },
    { model_name: 'renamed', litellm_params: { model: 'openai/up-renamed', ...own, ...price } },
    { model_name: 'up-embedding', litellm_params: { model: 'openai/up-embedding', ...own, ...price } },
    // Eleven tokens cost 1.65 nano-dollars.
    { model_name: 'cheap', litellm_params: { model: 'openai/up-cheap', ...own, input_cost_per_token: 1.5e-10 } },
    // No price here: the price list knows this one.
    { model_name: 'listed', litellm_params: { model: 'openai/gpt-4o', ...own } },
    {
      model_name: 'groq-overridden',
      litellm_params: { model: 'groq/llama-3.3-70b', api_base: `${apiBase}/groq/`, api_key: 'gsk_overridden' },
    },
    { model_name: 'groq-of-the-environment', litellm_params: { model: 'groq/llama-3.3-70b' } },
    { model_name: 'vllm', litellm_params: { model: 'hosted_vllm/Qwen/Qwen3-8B', api_base: 'os.environ/VLLM_BASE' } },
    { model_name: 'openai/*', litellm_params: { model: 'openai/*', ...own } },
    {
      model_name: 'weighted',
      litellm_params: { model: 'openai/heavy', ...own, weight: WEIGHTS.heavy },
      model_info: { id: 'heavy' },
    },
    {
      model_name: 'weighted',
      litellm_params: { model: 'openai/light', ...own, weight: WEIGHTS.light },
      model_info: { id: 'light' },
    },
  ];
}
