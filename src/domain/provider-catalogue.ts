/**
 * Providers whose wire is OpenAI's: a base URL, where the credential is found, and the few ways in which they differ. A
 * provider with a wire of its own is code, not an entry here.
 */
export interface ProviderEntry {
  /** `prefix/model` in `litellm_params.model`. */
  readonly prefix: string;
  /** Name in error texts: the `OpenAI` of `OpenAIException`. */
  readonly displayName: string;
  /** Without trailing slash. Null: there is no public address, so `api_base` or its variable must be given. */
  readonly apiBase: string | null;
  /** Environment variables, first set one wins. */
  readonly apiBaseEnv: readonly string[];
  readonly apiKeyEnv: readonly string[];
  /** `none`: refuses `stream_options`, or sends usage without being asked. */
  readonly streamUsage: 'include_usage' | 'none';
  /** Put before a model name that does not start with its first segment. */
  readonly modelPrefix: string | null;
}

export const DEFAULT_PROVIDER = 'openai';
/** The provider that is built in; it has no address. */
export const FAKE_PROVIDER = 'fake';

export function providerEntry(prefix: string): ProviderEntry | undefined {
  return PROVIDERS.get(prefix);
}

export function providerPrefixes(): readonly string[] {
  return [...PROVIDERS.keys()];
}

/** Prefixes that LiteLLM knows and this version does not serve, so that a warning can say which of the two it is. */
export function isKnownElsewhere(prefix: string): boolean {
  return NOT_SERVED.has(prefix);
}

/** A model name without prefix that LiteLLM would send to a provider other than OpenAI. */
export function providerOfBareName(model: string): string {
  if (/^claude-/.test(model)) return 'anthropic';
  if (/^gemini-/.test(model)) return 'vertex_ai';
  if (/^command(-|$)/.test(model)) return 'cohere_chat';
  return DEFAULT_PROVIDER;
}

interface Given {
  readonly base?: string;
  readonly baseEnv?: readonly string[];
  readonly keyEnv?: readonly string[];
  readonly name?: string;
  readonly streamUsage?: 'none';
  readonly modelPrefix?: string;
}

/** LiteLLM's rule for most providers: the prefix with a capital first letter; `GROQ_API_BASE` and `GROQ_API_KEY`. */
function provider(prefix: string, given: Given = {}): ProviderEntry {
  const variable = prefix.toUpperCase().replaceAll('-', '_');
  return {
    prefix,
    displayName: given.name ?? prefix.charAt(0).toUpperCase() + prefix.slice(1),
    apiBase: given.base ?? null,
    apiBaseEnv: given.baseEnv ?? [`${variable}_API_BASE`],
    apiKeyEnv: given.keyEnv ?? [`${variable}_API_KEY`],
    streamUsage: given.streamUsage ?? 'include_usage',
    modelPrefix: given.modelPrefix ?? null,
  };
}

const OPENAI: Given = {
  base: 'https://api.openai.com/v1',
  baseEnv: ['OPENAI_BASE_URL', 'OPENAI_API_BASE'],
  keyEnv: ['OPENAI_API_KEY'],
  name: 'OpenAI',
};

const PROVIDERS: ReadonlyMap<string, ProviderEntry> = new Map(
  [
    provider('openai', OPENAI),
    provider('text-completion-openai', OPENAI),
    // Servers of one's own: the address is always given.
    provider('custom_openai', { keyEnv: ['CUSTOM_OPENAI_API_KEY', 'OPENAI_API_KEY'] }),
    provider('openai_like'),
    provider('hosted_vllm'),
    provider('lm_studio'),
    provider('litellm_proxy'),
    provider('llamafile', { base: 'http://127.0.0.1:8080/v1' }),
    provider('xinference', { base: 'http://127.0.0.1:9997/v1' }),
    provider('databricks'),
    // Hosted.
    provider('groq', { base: 'https://api.groq.com/openai/v1' }),
    provider('together_ai', {
      base: 'https://api.together.xyz/v1',
      keyEnv: ['TOGETHERAI_API_KEY', 'TOGETHER_AI_API_KEY', 'TOGETHER_API_KEY'],
    }),
    provider('fireworks_ai', {
      base: 'https://api.fireworks.ai/inference/v1',
      baseEnv: ['FIREWORKS_API_BASE'],
      keyEnv: ['FIREWORKS_AI_API_KEY', 'FIREWORKS_API_KEY', 'FIREWORKSAI_API_KEY', 'FIREWORKS_AI_TOKEN'],
      modelPrefix: 'accounts/fireworks/models/',
    }),
    provider('deepseek', { base: 'https://api.deepseek.com' }),
    provider('xai', { base: 'https://api.x.ai/v1' }),
    provider('openrouter', { base: 'https://openrouter.ai/api/v1', keyEnv: ['OPENROUTER_API_KEY', 'OR_API_KEY'] }),
    // Sends cumulative usage on each chunk.
    provider('perplexity', {
      base: 'https://api.perplexity.ai',
      keyEnv: ['PERPLEXITYAI_API_KEY', 'PERPLEXITY_API_KEY'],
      streamUsage: 'none',
    }),
    // Refuses `stream_options`; usage comes on the last chunk anyway.
    provider('mistral', { base: 'https://api.mistral.ai/v1', streamUsage: 'none' }),
    provider('codestral', { base: 'https://codestral.mistral.ai/v1', streamUsage: 'none' }),
    provider('huggingface', {
      base: 'https://router.huggingface.co/v1',
      baseEnv: ['HF_API_BASE', 'HUGGINGFACE_API_BASE'],
      keyEnv: ['HF_TOKEN', 'HUGGINGFACE_API_KEY'],
    }),
    provider('nvidia_nim', { base: 'https://integrate.api.nvidia.com/v1' }),
    provider('cerebras', { base: 'https://api.cerebras.ai/v1' }),
    provider('sambanova', { base: 'https://api.sambanova.ai/v1' }),
    provider('deepinfra', { base: 'https://api.deepinfra.com/v1/openai' }),
    provider('novita', { base: 'https://api.novita.ai/v3/openai' }),
    provider('moonshot', { base: 'https://api.moonshot.ai/v1' }),
    provider('dashscope', { base: 'https://dashscope-intl.aliyuncs.com/compatible-mode/v1' }),
    provider('zai', { base: 'https://api.z.ai/api/paas/v4' }),
    provider('github', { base: 'https://models.github.ai/inference' }),
    provider('ai21', { base: 'https://api.ai21.com/studio/v1' }),
    provider('ai21_chat', {
      base: 'https://api.ai21.com/studio/v1',
      baseEnv: ['AI21_API_BASE'],
      keyEnv: ['AI21_API_KEY'],
    }),
    provider('volcengine', {
      base: 'https://ark.cn-beijing.volces.com/api/v3',
      keyEnv: ['VOLCENGINE_API_KEY', 'ARK_API_KEY'],
    }),
    provider('friendliai', {
      base: 'https://api.friendli.ai/serverless/v1',
      baseEnv: ['FRIENDLI_API_BASE'],
      keyEnv: ['FRIENDLIAI_API_KEY', 'FRIENDLI_TOKEN'],
    }),
    provider('nebius', { base: 'https://api.studio.nebius.ai/v1' }),
    provider('hyperbolic', { base: 'https://api.hyperbolic.xyz/v1' }),
    provider('lambda_ai', {
      base: 'https://api.lambda.ai/v1',
      baseEnv: ['LAMBDA_API_BASE'],
      keyEnv: ['LAMBDA_API_KEY'],
    }),
    provider('featherless_ai', { base: 'https://api.featherless.ai/v1' }),
    provider('meta_llama', {
      base: 'https://api.llama.com/compat/v1',
      baseEnv: ['LLAMA_API_BASE'],
      keyEnv: ['LLAMA_API_KEY'],
    }),
    // Embeddings in OpenAI's form.
    provider('voyage', { base: 'https://api.voyageai.com/v1', streamUsage: 'none' }),
    provider('jina_ai', { base: 'https://api.jina.ai/v1', streamUsage: 'none' }),
    // Answers inside this process.
    provider(FAKE_PROVIDER, { base: 'fake:', baseEnv: [], keyEnv: [] }),
  ].map((entry) => [entry.prefix, entry]),
);

const NOT_SERVED: ReadonlySet<string> = new Set([
  ...['anthropic', 'anthropic_text', 'azure', 'azure_ai', 'azure_text', 'bedrock', 'bedrock_converse', 'sagemaker'],
  ...['sagemaker_chat', 'vertex_ai', 'vertex_ai_beta', 'gemini', 'cohere', 'cohere_chat', 'ollama', 'ollama_chat'],
  ...['replicate', 'cloudflare', 'watsonx', 'triton', 'predibase', 'snowflake', 'nlp_cloud', 'github_copilot'],
  ...['aleph_alpha', 'petals', 'oobabooga', 'maritalk', 'baseten', 'vllm', 'clarifai', 'oci', 'gigachat', 'infinity'],
  ...['text-completion-codestral', 'topaz', 'deepgram', 'elevenlabs', 'assemblyai', 'recraft', 'bytez', 'datarobot'],
]);
