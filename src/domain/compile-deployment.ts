import type { ModelEntry } from './config-source.ts';
import type { PriceSource } from './configuration.ts';
import type { Deployment, Pricing } from './deployment.ts';
import { booleanOf, numberOf, objectOf, textOf } from './json-fields.ts';
import { isControlParam, isPerRequestField } from './litellm-params.ts';
import { type Pico, picoFromDollarsPerUnit } from './money.ts';
import {
  DEFAULT_PROVIDER,
  FAKE_PROVIDER,
  isKnownElsewhere,
  type ProviderEntry,
  providerEntry,
  providerOfBareName,
} from './provider-catalogue.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';
import { hasWildcard } from './wildcard.ts';

/** What an entry is compiled with. */
export interface DeploymentContext {
  readonly prices: PriceSource;
  /** An environment variable; undefined when it is not set. */
  readonly envValue: (name: string) => string | undefined;
  readonly sslVerify: boolean;
  /** Collects finished sentences without a place. */
  readonly warn: (sentence: string) => void;
}

export interface DeploymentPlace {
  readonly id: string;
  readonly organization: string | null;
  /** `provider/model`, wildcards filled in where a name was asked for. */
  readonly litellmModel: string;
}

export type CompiledDeployment =
  | { readonly ok: true; readonly deployment: Deployment }
  /** A sentence without a place. */
  | { readonly ok: false; readonly problem: string };

/** One `model_list` entry as a deployment. The weight is left at 1: it depends on the other entries of the group. */
export function compileDeployment(
  entry: ModelEntry,
  place: DeploymentPlace,
  context: DeploymentContext,
): CompiledDeployment {
  const params = entry.litellmParams;
  const target = findProvider(place.litellmModel, textOf(params.custom_llm_provider));
  if (typeof target === 'string') return { ok: false, problem: target };
  const { provider, model } = target;

  const givenBase = textOf(params.api_base) ?? textOf(params.base_url);
  const configuredBase = givenBase ?? firstSet(provider.apiBaseEnv, context) ?? provider.apiBase;
  // The base is shown: in a header of each answer, in usage rows, metrics and `/health`.
  const apiBase = configuredBase === null ? null : configuredBase.replace(USER_INFO, '$1');
  if (apiBase !== configuredBase) {
    context.warn('has a user name or password in api_base, which is left out: set api_key or extra_headers instead.');
  }
  if (apiBase === null) {
    return {
      ok: false,
      problem: `provider ${provider.prefix} has no public address: set api_base or ${provider.apiBaseEnv[0]}.`,
    };
  }
  if (provider.prefix !== FAKE_PROVIDER && !/^https?:\/\/[^/]/i.test(apiBase)) {
    return { ok: false, problem: `api_base ${apiBase} is not an http or https URL.` };
  }
  const apiKey = textOf(params.api_key) ?? firstSet(provider.apiKeyEnv, context);
  if (
    apiKey === null &&
    apiBase === provider.apiBase &&
    provider.apiKeyEnv.length > 0 &&
    apiBase.startsWith('https:')
  ) {
    context.warn(
      `has no api_key and ${provider.apiKeyEnv[0]} is not set; ${provider.displayName} will refuse its calls.`,
    );
  }
  return {
    ok: true,
    deployment: {
      id: place.id,
      modelGroup: entry.modelName,
      provider: provider.prefix,
      providerName: provider.displayName,
      takesStreamOptions: provider.streamUsage === 'include_usage',
      model,
      litellmModel: place.litellmModel,
      apiBase: apiBase.replace(/\/+$/, ''),
      apiKey,
      organization: place.organization ?? organizationOf(provider, context),
      weight: 1,
      order: numberOf(params.order) ?? ORDER_DEFAULT,
      timeoutMs: secondsOf(params.timeout),
      streamTimeoutMs: secondsOf(params.stream_timeout),
      extraHeaders: { ...headersOf(params.headers), ...headersOf(params.extra_headers) },
      defaultBody: defaultBodyOf(params, context),
      pricing: pricingOf(entry, provider.prefix, model, context),
      sslVerify: booleanOf(params.ssl_verify, context.sslVerify),
      clientCertPath: textOf(params.ssl_certificate),
      clientKeyPath: textOf(params.ssl_key),
      modelInfo: entry.modelInfo,
      mode: textOf(entry.modelInfo.mode) ?? 'chat',
    },
  };
}

/** `https://user:password@` of a URL; what stays is the scheme. */
const USER_INFO = /^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i;

/** Seconds in a setting to milliseconds; null when there is none or it is not positive. */
export function secondsOf(value: JsonValue | undefined): number | null {
  const seconds = numberOf(value);
  return seconds === null || seconds <= 0 ? null : Math.ceil(seconds * 1_000);
}

/** As in LiteLLM: entries without an `order` are used when none that has one is left. */
const ORDER_DEFAULT = Number.MAX_SAFE_INTEGER;

/** A provider with the model name that it is sent, or why there is none. */
function findProvider(
  litellmModel: string,
  custom: string | null,
): { readonly provider: ProviderEntry; readonly model: string } | string {
  const slash = litellmModel.indexOf('/');
  const prefix = custom ?? (slash === -1 ? bareProvider(litellmModel) : litellmModel.slice(0, slash));
  const provider = providerEntry(prefix);
  if (provider === undefined) {
    return isKnownElsewhere(prefix)
      ? `provider ${prefix} is not served by this version.`
      : `${prefix} is not a known provider; a model of an OpenAI-compatible server is written openai/<model> with an api_base.`;
  }
  const rest = litellmModel.startsWith(`${prefix}/`) ? litellmModel.slice(prefix.length + 1) : litellmModel;
  if (rest === '') return `${litellmModel} names no model.`;
  return { provider, model: withModelPrefix(rest, provider.modelPrefix) };
}

function bareProvider(model: string): string {
  return hasWildcard(model) ? DEFAULT_PROVIDER : providerOfBareName(model);
}

/** `accounts/fireworks/models/` before a name that names no account. */
function withModelPrefix(model: string, prefix: string | null): string {
  if (prefix === null || model.includes('#')) return model;
  const root = prefix.slice(0, prefix.indexOf('/') + 1);
  return model.startsWith(root) ? model : prefix + model;
}

function firstSet(names: readonly string[], context: DeploymentContext): string | null {
  for (const name of names) {
    const value = context.envValue(name);
    if (value !== undefined && value !== '') return value;
  }
  return null;
}

function organizationOf(provider: ProviderEntry, context: DeploymentContext): string | null {
  return provider.prefix === DEFAULT_PROVIDER ? firstSet(['OPENAI_ORGANIZATION'], context) : null;
}

/** Headers that the gateway sets itself, or that belong to one connection. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'connection',
  'transfer-encoding',
  'upgrade',
]);

function headersOf(value: JsonValue | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, content] of Object.entries(objectOf(value) ?? {})) {
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name) || RESERVED_HEADERS.has(name.toLowerCase())) continue;
    const text = typeof content === 'object' ? '' : String(content);
    // A line break would be a second header.
    if (text !== '' && !/[^\t\x20-\x7e\x80-\xff]/.test(text)) headers[name] = text;
  }
  return headers;
}

function defaultBodyOf(params: JsonObject, context: DeploymentContext): JsonObject {
  const body: JsonObject = {};
  for (const [name, value] of Object.entries({ ...params, ...objectOf(params.extra_body) })) {
    if (name in params && isControlParam(name)) continue;
    if (isPerRequestField(name)) {
      if (name !== 'model')
        context.warn(`gives a default for ${name}, which only a request can decide; it is left out.`);
      continue;
    }
    body[name] = value;
  }
  return body;
}

/** Price names of `litellm_params` and `model_info`, in dollars per token. */
const PRICE_FIELDS = {
  input: 'input_cost_per_token',
  output: 'output_cost_per_token',
  cacheRead: 'cache_read_input_token_cost',
  cacheWrite: 'cache_creation_input_token_cost',
  inputAudio: 'input_cost_per_audio_token',
  outputAudio: 'output_cost_per_audio_token',
  reasoning: 'output_cost_per_reasoning_token',
} as const satisfies Record<keyof Pricing, string>;

/** The entry's own prices replace the price list as a whole: a missing direction costs nothing. */
function pricingOf(entry: ModelEntry, provider: string, model: string, context: DeploymentContext): Pricing | null {
  const price = (field: keyof Pricing): Pico | null => {
    const name = PRICE_FIELDS[field];
    const dollars = numberOf(entry.litellmParams[name]) ?? numberOf(entry.modelInfo[name]);
    if (dollars === null) return null;
    try {
      return picoFromDollarsPerUnit(dollars);
    } catch {
      context.warn(`has ${name}: ${dollars}, which is not a usable price; it is left out.`);
      return null;
    }
  };
  const input = price('input');
  const output = price('output');
  if (input === null && output === null) {
    return hasWildcard(model) ? null : context.prices.find(provider, model, textOf(entry.modelInfo.base_model));
  }
  return {
    input: input ?? (0 as Pico),
    output: output ?? (0 as Pico),
    cacheRead: price('cacheRead'),
    cacheWrite: price('cacheWrite'),
    inputAudio: price('inputAudio'),
    outputAudio: price('outputAudio'),
    reasoning: price('reasoning'),
  };
}
