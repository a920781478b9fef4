import { nanoFromDollars } from './money.ts';
import type { SearchContextSize, UsageExtras } from './usage.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

/**
 * What a `usage` object says beyond plain tokens, in whatever dialect; undefined when that is nothing, as with nearly all calls. Members are
 * looked for in the order in which they are likely to be there, and none is looked for that an ordinary answer would not have to be asked for.
 */
export function parseUsageExtras(usage: JsonObject, serviceTier: string | null): UsageExtras | undefined {
  const extras = spare;
  let found = false;
  const tier = serviceTierOf(serviceTier) ?? serviceTierOf(usage.service_tier) ?? serviceTierOf(usage.traffic_type);
  if (tier !== null) {
    extras.serviceTier = tier;
    found = true;
  }
  for (const name in usage) {
    switch (name) {
      case 'prompt_tokens':
      case 'completion_tokens':
      case 'total_tokens':
        break;
      case 'prompt_tokens_details':
      case 'input_tokens_details':
        found = readPromptDetails(usage[name], extras) || found;
        break;
      case 'completion_tokens_details':
      case 'output_tokens_details':
        found = readCompletionDetails(usage[name], extras) || found;
        break;
      default:
        found = READERS.get(name)?.(usage[name], extras) || found;
    }
  }
  if (!found) return undefined;
  spare = {};
  if (usage.is_byok === true) readOwnKeyCost(usage, extras);
  return extras;
}

/** An empty one, made beforehand so that a call without extras makes none. Readers write only when they find something. */
let spare: Mutable<UsageExtras> = {};

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
/** Returns whether the value said anything. */
type Reader = (value: JsonValue | undefined, extras: Mutable<UsageExtras>) => boolean;
type CountName = Exclude<keyof UsageExtras, 'factors' | 'reportedNano' | 'searchContextSize' | 'serviceTier'>;

/** The names of tiers that are no tier: what is paid by default. */
const STANDARD_TIERS: ReadonlySet<string> = new Set([
  'default',
  'standard',
  'auto',
  'on_demand',
  'traffic_type_unspecified',
]);
/** Gemini's traffic types, and what batches are called. */
const TIER_NAMES: Readonly<Record<string, string>> = {
  on_demand_flex: 'flex',
  on_demand_priority: 'priority',
  batches: 'batch',
};
const TIER_CHARS_MAX = 40;

export function serviceTierOf(value: JsonValue | undefined): string | null {
  if (typeof value !== 'string' || value === 'default' || value === '' || value.length > TIER_CHARS_MAX) return null;
  const name = value.toLowerCase();
  if (STANDARD_TIERS.has(name)) return null;
  return Object.hasOwn(TIER_NAMES, name) ? TIER_NAMES[name]! : name;
}

/** A count above this is not believed and cut to it. Pixels and milliseconds may be many. */
const COUNT_MAX = 1_000_000_000_000;

function counted(name: CountName, scale = 1): Reader {
  return (value, extras) => {
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) return false;
    extras[name] = Math.min(Math.round(value * scale), COUNT_MAX);
    return true;
  };
}

const MS_PER_SECOND = 1_000;

const READERS: ReadonlyMap<string, Reader> = new Map(
  Object.entries<Reader>({
    cache_creation: (value, extras) =>
      counted('cacheWrite1hTokens')(member(value, 'ephemeral_1h_input_tokens'), extras),
    server_tool_use: (value, extras) => {
      const searched = counted('webSearches')(member(value, 'web_search_requests'), extras);
      const computed = counted('codeSessions')(member(value, 'code_execution_sessions'), extras);
      return searched || computed;
    },
    num_search_queries: counted('webSearches'),
    web_search_requests: counted('webSearches'),
    search_context_size: (value, extras) => {
      if (value !== 'low' && value !== 'medium' && value !== 'high') return false;
      extras.searchContextSize = value satisfies SearchContextSize;
      return true;
    },
    google_maps_requests: counted('mapsQueries'),
    file_search_calls: counted('fileSearches'),
    code_interpreter_sessions: counted('codeSessions'),
    computer_use_input_tokens: counted('computerInputTokens'),
    computer_use_output_tokens: counted('computerOutputTokens'),
    citation_tokens: counted('citationTokens'),
    seconds: counted('inputMs', MS_PER_SECOND),
    prompt_audio_seconds: counted('inputMs', MS_PER_SECOND),
    output_seconds: counted('outputMs', MS_PER_SECOND),
    duration_seconds: counted('outputVideoMs', MS_PER_SECOND),
    input_characters: counted('inputCharacters'),
    output_characters: counted('outputCharacters'),
    input_images: counted('inputImages'),
    output_images: counted('outputImages'),
    input_pixels: counted('inputPixels'),
    output_pixels: counted('outputPixels'),
    pages_processed: counted('pages'),
    search_units: counted('queries'),
    speed: readFactor,
    inference_geo: readFactor,
    cost: readCost,
  }),
);

const READ_IMAGE_INPUT = counted('imageInputTokens');
const READ_VIDEO_INPUT = counted('videoInputTokens');
const READ_IMAGE_OUTPUT = counted('imageOutputTokens');
const READ_VIDEO_OUTPUT = counted('videoOutputTokens');
const READ_SEARCHES = counted('webSearches');
const READ_HOUR_WRITES = counted('cacheWrite1hTokens');

function readPromptDetails(details: JsonValue | undefined, extras: Mutable<UsageExtras>): boolean {
  if (typeof details !== 'object' || details === null || Array.isArray(details)) return false;
  const image = READ_IMAGE_INPUT(details.image_tokens, extras);
  const video = READ_VIDEO_INPUT(details.video_tokens, extras);
  const searched = READ_SEARCHES(details.web_search_requests, extras);
  const kept = READ_HOUR_WRITES(member(details.cache_creation_token_details, 'ephemeral_1h_input_tokens'), extras);
  return image || video || searched || kept;
}

function readCompletionDetails(details: JsonValue | undefined, extras: Mutable<UsageExtras>): boolean {
  if (typeof details !== 'object' || details === null || Array.isArray(details)) return false;
  const image = READ_IMAGE_OUTPUT(details.image_tokens, extras);
  const video = READ_VIDEO_OUTPUT(details.video_tokens, extras);
  return image || video;
}

const FACTORS_MAX = 4;
/** What an answer says that has no factor anywhere. */
const PLAIN_FACTORS: ReadonlySet<string> = new Set(['', 'standard', 'global', 'not_available']);

function readFactor(value: JsonValue | undefined, extras: Mutable<UsageExtras>): boolean {
  if (typeof value !== 'string' || value.length > TIER_CHARS_MAX || PLAIN_FACTORS.has(value)) return false;
  const factors = extras.factors ?? [];
  if (factors.length >= FACTORS_MAX) return false;
  extras.factors = [...factors, value];
  return true;
}

/** Dollars, or an object with a total (Perplexity). */
function readCost(value: JsonValue | undefined, extras: Mutable<UsageExtras>): boolean {
  const nano = nanoOf(typeof value === 'object' ? member(value, 'total_cost') : value);
  if (nano === null) return false;
  extras.reportedNano = nano;
  return true;
}

/** With a key of the customer at the provider behind (OpenRouter), the cost is the fee, and that provider bills beside it. */
function readOwnKeyCost(usage: JsonObject, extras: Mutable<UsageExtras>): void {
  const behind = nanoOf(member(usage.cost_details, 'upstream_inference_cost'));
  if (behind === null || extras.reportedNano === undefined) return;
  const sum = extras.reportedNano + behind;
  if (Number.isSafeInteger(sum)) extras.reportedNano = sum as NonNullable<UsageExtras['reportedNano']>;
}

function nanoOf(value: JsonValue | undefined): NonNullable<UsageExtras['reportedNano']> | null {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) return null;
  try {
    return nanoFromDollars(value);
  } catch {
    return null;
  }
}

function member(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value[name] : undefined;
}
