import { adjustPricing, type CostTerms, NO_TERMS, type PricedPlace } from './adjust-pricing.ts';
import type { ModelEntry } from './config-source.ts';
import type { PriceSource } from './configuration.ts';
import { tiersFromOf } from './cost-map.ts';
import type { Deployment, DeploymentLimits, Pricing } from './deployment.ts';
import { booleanOf, numberOf, objectOf, textOf } from './json-fields.ts';
import { isControlParam, isPerRequestField } from './litellm-params.ts';
import {
  BadPriceError,
  completePricing,
  isPriceField,
  overlayPricing,
  type ParsedPricing,
  parsePricing,
} from './parse-pricing.ts';
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
  /** Where the calls are made from; absent: nowhere, as for the control plane when it validates. */
  readonly region?: string | undefined;
  /** Absent: neither discounts nor margins. */
  readonly terms?: CostTerms;
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
  const priced = priceOrProblem(
    entry,
    { provider: provider.prefix, apiBase, location: locationOf(params) },
    model,
    context,
  );
  if ('problem' in priced) return { ok: false, problem: priced.problem };
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
      pricing: priced.pricing,
      sslVerify: booleanOf(params.ssl_verify, context.sslVerify),
      clientCertPath: textOf(params.ssl_certificate),
      clientKeyPath: textOf(params.ssl_key),
      modelInfo: entry.modelInfo,
      mode: textOf(entry.modelInfo.mode) ?? 'chat',
      ...limitsOf(params),
    },
  };
}

/** Zero is a limit: nothing may be sent there. A negative or fractional number is rounded towards it. */
function limitsOf(params: JsonObject): { readonly limits?: DeploymentLimits } {
  const limit = (name: string): number | null => {
    const value = numberOf(params[name]);
    return value === null ? null : Math.max(0, Math.floor(value));
  };
  const limits: DeploymentLimits = {
    rpm: limit('rpm'),
    tpm: limit('tpm'),
    maxParallelRequests: limit('max_parallel_requests'),
    keyRpm: limit('default_api_key_rpm_limit'),
    keyTpm: limit('default_api_key_tpm_limit'),
  };
  return Object.values(limits).every((value) => value === null) ? {} : { limits };
}

/** What the name in an answer costs, at a deployment whose own name has no price. */
export function priceAnswer(
  { litellmParams, modelInfo, modelName }: ModelEntry,
  { apiBase, provider }: Deployment,
  answeredModel: string,
  context: DeploymentContext,
): Pricing | null {
  const { base_model: _, ...info } = modelInfo;
  const place = { provider, apiBase, location: locationOf(litellmParams) };
  const priced = priceOrProblem({ modelName, litellmParams, modelInfo: info }, place, answeredModel, context);
  return 'pricing' in priced ? priced.pricing : null;
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

function locationOf(params: JsonObject): string | null {
  return textOf(params.vertex_location) ?? textOf(params.aws_region_name) ?? textOf(params.region_name);
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

/**
 * The prices of an entry: those that it gives itself, else what the price list says of its base model or its name; on top of that those of
 * this region, uplift, discount and margin. Prices of its own that price a token or another unit replace the list as a whole, so that a direction
 * without one costs nothing; others (the reading of a cache, ...) replace only their like. Throws `BadPriceError`.
 */
function pricingOf(entry: ModelEntry, place: PricedPlace, model: string, context: DeploymentContext): Pricing | null {
  const tiersFrom = tiersFromOf(place.provider);
  const own = parsePricing(priceFieldsOf(entry), tiersFrom);
  const region = regionPrices(entry, context.region);
  const listed = (): Pricing | null =>
    hasWildcard(model) ? null : context.prices.find(place.provider, model, textOf(entry.modelInfo.base_model));
  let pricing = own.isComplete ? completePricing(own) : listed();
  if (pricing !== null && !own.isComplete && isPriced(own)) pricing = overlayPricing(pricing, own);
  if (region !== null) {
    const parsed = parsePricing(region, tiersFrom);
    if (pricing !== null) pricing = overlayPricing(pricing, parsed);
    else if (parsed.isComplete) pricing = completePricing(parsed);
  }
  return pricing === null ? null : adjustPricing(pricing, place, context.terms ?? NO_TERMS);
}

/** `litellm_params` before `model_info`. */
function priceFieldsOf({ litellmParams, modelInfo }: ModelEntry): JsonObject {
  const fields: JsonObject = {};
  for (const source of [modelInfo, litellmParams]) {
    for (const [name, value] of Object.entries(source)) if (value !== null && isPriceField(name)) fields[name] = value;
  }
  return fields;
}

function isPriced({ more, rates }: ParsedPricing): boolean {
  const { factors, timed, services, tiers, uplifts } = more;
  return (
    tiers.length + timed.length > 0 ||
    [rates, services, factors, uplifts].some((given) => Object.keys(given).length > 0)
  );
}

function regionPrices({ modelInfo }: ModelEntry, region: string | undefined): JsonObject | null {
  const given = modelInfo.region_prices;
  if (given === undefined || given === null) return null;
  const regions = objectOf(given);
  if (regions === null) throw new BadPriceError('region_prices is not a map of regions to prices.');
  let found: JsonObject | null = null;
  for (const [name, prices] of Object.entries(regions)) {
    const fields = objectOf(prices);
    if (fields === null) throw new BadPriceError(`region_prices.${name} is not a map of prices.`);
    // Those of other regions are read too: what is wrong is found by whoever writes it, not by a worker far away.
    try {
      parsePricing(fields);
    } catch (error) {
      throw error instanceof BadPriceError ? new BadPriceError(`region_prices.${name}.${error.message}`) : error;
    }
    if (name === region) found = fields;
  }
  return found;
}

function priceOrProblem(
  entry: ModelEntry,
  place: PricedPlace,
  model: string,
  context: DeploymentContext,
): { readonly pricing: Pricing | null } | { readonly problem: string } {
  try {
    return { pricing: pricingOf(entry, place, model, context) };
  } catch (error) {
    if (error instanceof BadPriceError) return { problem: error.message };
    throw error;
  }
}
