/** `config.yaml`, validated, becomes what a gateway process routes by. Both planes run this same code. */
import { compileDeployment, type DeploymentContext, priceAnswer, secondsOf } from './compile-deployment.ts';
import type { ConfigSource, ModelEntry } from './config-source.ts';
import type { Configuration, ModelGroup, PriceSource, ResolvedGroup } from './configuration.ts';
import type { Deployment, Pricing } from './deployment.ts';
import { booleanOf, canonicalJson, numberOf, objectOf, textOf, textsOf } from './json-fields.ts';
import { freeId, modelIdOf, organizationsOf } from './model-id.ts';
import { type Nano, nanoFromDollars } from './money.ts';
import { FAKE_PROVIDER } from './provider-catalogue.ts';
import { regionsProblem, servesRegion } from './stored-model.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';
import { fillWildcards, hasWildcard, literalLength, matchWildcard } from './wildcard.ts';

export interface CompileContext {
  readonly prices: PriceSource;
  /** An environment variable; undefined when it is not set. */
  readonly envValue: (name: string) => string | undefined;
  readonly sha256Hex: (text: string) => string;
  /** Entries whose `model_info.regions` do not hold it are left out; absent: all are compiled. */
  readonly region?: string;
}

export interface CompiledConfiguration {
  readonly configuration: Configuration;
  /** Finished sentences for the operator. */
  readonly warnings: readonly string[];
}

/** An entry that can not be used, with `router_settings.ignore_invalid_deployments: false`. */
export class InvalidDeploymentError extends Error {}

/** Concrete names of wildcard groups that are remembered; at the bound all are forgotten and found again. */
export const RESOLVED_NAMES_MAX = 2_000;
/** A longer name matches no wildcard. */
export const WILDCARD_NAME_CHARS_MAX = 512;

export function compileConfiguration(source: ConfigSource, context: CompileContext): CompiledConfiguration {
  const warnings: string[] = [];
  const members = compileMembers(source, context, warnings);
  const groups = new Map<string, ModelGroup>();
  const wildcards: ModelGroup[] = [];
  for (const [name, ofGroup] of groupBy(members, (member) => member.deployment.modelGroup)) {
    const group: ModelGroup = {
      name,
      deployments: ofGroup.map(({ deployment }) => deployment),
      accessGroups: [...new Set(ofGroup.flatMap(({ entry }) => textsOf(entry.modelInfo.access_groups)))],
    };
    if (hasWildcard(name)) wildcards.push(group);
    else groups.set(name, group);
  }
  wildcards.sort((left, right) => literalLength(right.name) - literalLength(left.name));

  const { groupAliases, hiddenAliases } = compileAliases(source.routerSettings, groups, wildcards, warnings);
  const configuration: Configuration = {
    groups,
    wildcards,
    groupAliases,
    hiddenAliases,
    router: compileRouter(source),
    general: compileGeneral(source),
    resolve: makeResolver(
      groups,
      wildcards,
      members,
      deploymentContext(source, context, () => undefined),
    ),
    priceOfAnswer: makeAnswerPrices(
      members,
      deploymentContext(source, context, () => undefined),
    ),
    hash: context.sha256Hex(canonicalJson(source as unknown as JsonValue)),
  };
  return { configuration, warnings };
}

/** The group behind a name (after aliases), with wildcards filled in. Null = there is no such model. */
export function resolveGroup(configuration: Configuration, name: string): ResolvedGroup | null {
  return configuration.resolve(name);
}

interface Member {
  readonly entry: ModelEntry;
  readonly deployment: Deployment;
  readonly organization: string | null;
}

function deploymentContext(
  source: ConfigSource,
  context: CompileContext,
  warn: (sentence: string) => void,
): DeploymentContext {
  const variables = source.environmentVariables;
  return {
    prices: context.prices,
    envValue: (name) => (Object.hasOwn(variables, name) ? variables[name] : context.envValue(name)),
    sslVerify: booleanOf(source.litellmSettings.ssl_verify, true),
    region: context.region,
    terms: {
      discounts: objectOf(source.litellmSettings.cost_discount_config) ?? {},
      margins: objectOf(source.litellmSettings.cost_margin_config) ?? {},
    },
    warn,
  };
}

function compileMembers(source: ConfigSource, context: CompileContext, warnings: string[]): readonly Member[] {
  const ignoreInvalid = booleanOf(source.routerSettings.ignore_invalid_deployments, true);
  const ids = new Set<string>();
  const members: Member[] = [];
  for (const [index, entry] of source.models.entries()) {
    const place = placeOf(entry, index);
    const compileWith = deploymentContext(source, context, (sentence) => warnings.push(`${place} ${sentence}`));
    const unusable = (problem: string): void => {
      const sentence = `${place} can not be used: ${problem}`;
      if (!ignoreInvalid) throw new InvalidDeploymentError(sentence);
      warnings.push(`${sentence} It is left out.`);
    };
    const problem = regionsProblem(entry.modelInfo.regions);
    if (problem !== null) {
      unusable(problem);
      continue;
    }
    if (context.region !== undefined && !servesRegion(entry, context.region)) continue;
    if (booleanOf(entry.modelInfo.blocked, false)) continue;
    const litellmModel = textOf(entry.litellmParams.model) ?? '';
    for (const organization of organizationsOf(entry.litellmParams.organization)) {
      const id = freeId(modelIdOf(entry, organization, context.sha256Hex), ids);
      const compiled = compileDeployment(entry, { id, organization, litellmModel }, compileWith);
      if (compiled.ok) {
        ids.add(id);
        members.push({ entry, deployment: compiled.deployment, organization });
        continue;
      }
      unusable(compiled.problem);
    }
  }
  return withWeights(members);
}

function placeOf({ modelInfo, modelName, origin }: ModelEntry, index: number): string {
  return origin === 'database'
    ? `Model ${String(modelInfo.id)} (${modelName}) of the database`
    : `model_list[${index}] (${modelName})`;
}

/**
 * LiteLLM's simple-shuffle: the share of a deployment is its `weight` if any of the group has one, else its `rpm`, else its
 * `tpm`; whoever has none of what the others have gets no share. With none of the three all are equal.
 */
function withWeights(members: readonly Member[]): readonly Member[] {
  const fieldOfGroup = new Map<string, string>();
  for (const [name, ofGroup] of groupBy(members, (member) => member.deployment.modelGroup)) {
    const field = ['weight', 'rpm', 'tpm'].find((candidate) =>
      ofGroup.some(({ entry }) => numberOf(entry.litellmParams[candidate]) !== null),
    );
    if (field !== undefined) fieldOfGroup.set(name, field);
  }
  return members.map((member) => {
    const field = fieldOfGroup.get(member.deployment.modelGroup);
    if (field === undefined) return member;
    const weight = Math.max(0, numberOf(member.entry.litellmParams[field]) ?? 0);
    return { ...member, deployment: { ...member.deployment, weight } };
  });
}

function compileAliases(
  router: JsonObject,
  groups: ReadonlyMap<string, ModelGroup>,
  wildcards: readonly ModelGroup[],
  warnings: string[],
): { readonly groupAliases: ReadonlyMap<string, string>; readonly hiddenAliases: ReadonlySet<string> } {
  const groupAliases = new Map<string, string>();
  const hiddenAliases = new Set<string>();
  for (const [alias, value] of Object.entries(objectOf(router.model_group_alias) ?? {})) {
    const place = `router_settings.model_group_alias.${alias}`;
    const target = textOf(value) ?? textOf(objectOf(value)?.model);
    if (target === null) {
      warnings.push(`${place} names no model group and has no effect.`);
      continue;
    }
    if (!groups.has(target) && !wildcards.some(({ name }) => matchWildcard(name, target) !== null)) {
      warnings.push(`${place} leads to ${target}, which is in no model_list entry; calls to it will be refused.`);
    }
    groupAliases.set(alias, target);
    if (booleanOf(objectOf(value)?.hidden, false)) hiddenAliases.add(alias);
  }
  return { groupAliases, hiddenAliases };
}

const NUM_RETRIES_DEFAULT = 2;
const TIMEOUT_DEFAULT_MS = 600_000;

/** A name that both sections have is taken from `router_settings`. */
function compileRouter({ routerSettings, litellmSettings }: ConfigSource): Configuration['router'] {
  const numRetries =
    numberOf(routerSettings.num_retries) ?? numberOf(litellmSettings.num_retries) ?? NUM_RETRIES_DEFAULT;
  const timeoutMs =
    secondsOf(routerSettings.timeout) ?? secondsOf(litellmSettings.request_timeout) ?? TIMEOUT_DEFAULT_MS;
  return {
    numRetries: Math.max(0, Math.trunc(numRetries)),
    timeoutMs,
    streamTimeoutMs: secondsOf(routerSettings.stream_timeout) ?? timeoutMs,
  };
}

const BYTES_PER_MEGABYTE = 1024 * 1024;

function compileGeneral({ generalSettings, litellmSettings }: ConfigSource): Configuration['general'] {
  const megabytes = numberOf(generalSettings.max_request_size_mb);
  return {
    keyHeaderName: textOf(generalSettings.litellm_key_header_name)?.toLowerCase() ?? null,
    requireAuthForMetrics: booleanOf(litellmSettings.require_auth_for_metrics_endpoint, true),
    publicReadinessDetails: booleanOf(generalSettings.allow_public_health_readiness_details, false),
    includeCallIdInErrorBody: booleanOf(generalSettings.include_call_id_in_error_body, false),
    includeCostInStreamingUsage: booleanOf(litellmSettings.include_cost_in_streaming_usage, false),
    alwaysIncludeStreamUsage: booleanOf(generalSettings.always_include_stream_usage, false),
    requestBytesMax: megabytes === null || megabytes <= 0 ? null : Math.trunc(megabytes * BYTES_PER_MEGABYTE),
    useXForwardedFor: booleanOf(generalSettings.use_x_forwarded_for, false),
    tokenRateLimitType: tokenRateLimitType(textOf(generalSettings.token_rate_limit_type)),
    customerHeaders: customerHeadersOf(generalSettings),
    defaultCustomerBudgetId: textOf(litellmSettings.max_end_user_budget_id),
    unpricedReservationNano: unpricedReservation(generalSettings.unpriced_reservation_usd),
    confirmedPriceChanges: confirmedPriceChanges(generalSettings.confirmed_price_changes),
  };
}

function tokenRateLimitType(value: string | null): 'total' | 'input' | 'output' {
  return value === 'input' || value === 'output' ? value : 'total';
}

function confirmedPriceChanges(value: JsonValue | undefined): ReadonlySet<string> | 'all' {
  return booleanOf(value, false) ? 'all' : new Set(textsOf(value));
}

/** A dollar: more than nearly all calls cost, so that a budget holds although nothing is known. */
const UNPRICED_RESERVATION_DEFAULT_USD = 1;

function unpricedReservation(value: JsonValue | undefined): Nano {
  const dollars = numberOf(value);
  try {
    if (dollars !== null && dollars >= 0) return nanoFromDollars(dollars);
  } catch {
    // More than a call can cost: the default counts.
  }
  return nanoFromDollars(UNPRICED_RESERVATION_DEFAULT_USD);
}

const CUSTOMER_HEADERS = ['x-litellm-customer-id', 'x-litellm-end-user-id'];

/** LiteLLM's own first, then those of `user_header_mappings` with the role of a customer, then `user_header_name`. */
function customerHeadersOf({ user_header_mappings, user_header_name }: JsonObject): readonly string[] {
  const mappings = Array.isArray(user_header_mappings) ? user_header_mappings : [user_header_mappings ?? null];
  const mapped = mappings
    .map(objectOf)
    .filter((mapping) => textOf(mapping?.litellm_user_role)?.toLowerCase() === 'customer')
    .map((mapping) => textOf(mapping?.header_name));
  const named = [...mapped, textOf(user_header_name)].filter((name) => name !== null);
  return [...new Set([...CUSTOMER_HEADERS, ...named.map((name) => name.toLowerCase())])];
}

const modelOf = (deployment: Deployment): string => deployment.model;

function makeResolver(
  groups: ReadonlyMap<string, ModelGroup>,
  wildcards: readonly ModelGroup[],
  members: readonly Member[],
  context: DeploymentContext,
): (name: string) => ResolvedGroup | null {
  const plain = new Map([...groups].map(([name, group]) => [name, resolved(name, group)]));
  const entries = new Map(members.map((member) => [member.deployment.id, member]));
  const filled = new Map<string, ResolvedGroup>();
  return (name) => {
    const known = plain.get(name) ?? filled.get(name);
    if (known !== undefined) return known;
    if (name === '' || name.length > WILDCARD_NAME_CHARS_MAX || hasWildcard(name)) return null;
    for (const group of wildcards) {
      const captures = matchWildcard(group.name, name);
      if (captures === null) continue;
      const deployments = group.deployments.flatMap((pattern) => {
        const member = entries.get(pattern.id);
        return member === undefined ? [] : fillDeployment(member, captures, context);
      });
      if (deployments.length === 0) continue;
      const found = resolved(name, { ...group, deployments });
      if (filled.size >= RESOLVED_NAMES_MAX) filled.clear();
      filled.set(name, found);
      return found;
    }
    return null;
  };
}

/** Answers that are remembered; at the bound all are forgotten and found again. */
const ANSWER_PRICES_MAX = 2_000;

function makeAnswerPrices(
  members: readonly Member[],
  context: DeploymentContext,
): (deployment: Deployment, answeredModel: string) => Pricing | null {
  const entries = new Map(members.map((member) => [member.deployment.id, member.entry]));
  const known = new Map<string, Pricing | null>();
  return (deployment, answeredModel) => {
    const entry = entries.get(deployment.id);
    if (entry === undefined || answeredModel === '' || answeredModel.length > WILDCARD_NAME_CHARS_MAX) return null;
    const key = `${deployment.id}\n${answeredModel}`;
    let pricing = known.get(key);
    if (pricing === undefined) {
      pricing = priceAnswer(entry, deployment, answeredModel, context);
      if (known.size >= ANSWER_PRICES_MAX) known.clear();
      known.set(key, pricing);
    }
    return pricing;
  };
}

function resolved(name: string, group: ModelGroup): ResolvedGroup {
  // `openai/*` in a key also means a group that is called like the very model of that provider.
  const implied = group.deployments.filter(({ model }) => model === name).map(({ provider }) => `${provider}/${name}`);
  return { name, accessGroups: group.accessGroups, impliedNames: [...new Set(implied)], group, upstreamName: modelOf };
}

/** The deployment that a wildcard entry is for one concrete name; none when that names nothing that can be called. */
function fillDeployment(
  member: Member,
  captures: readonly string[],
  context: DeploymentContext,
): readonly Deployment[] {
  const { deployment, entry, organization } = member;
  const litellmModel = fillWildcards(deployment.litellmModel, captures);
  // The name had fewer parts than the entry's model has stars.
  if (hasWildcard(litellmModel)) return [];
  const compiled = compileDeployment(entry, { id: deployment.id, organization, litellmModel }, context);
  if (!compiled.ok) return [];
  // The built-in provider is for who configured it, not for any client that knows its name.
  if (compiled.deployment.provider === FAKE_PROVIDER && deployment.provider !== FAKE_PROVIDER) return [];
  return [{ ...compiled.deployment, weight: deployment.weight }];
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): ReadonlyMap<string, readonly Item[]> {
  const grouped = new Map<string, Item[]>();
  for (const item of items) {
    const list = grouped.get(keyOf(item));
    if (list === undefined) grouped.set(keyOf(item), [item]);
    else list.push(item);
  }
  return grouped;
}
