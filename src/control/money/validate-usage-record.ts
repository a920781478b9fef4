import type { Nano } from '../../domain/money.ts';
import {
  type Charge,
  COST_PARTS,
  type CostBreakdown,
  USAGE_COUNTS,
  type UsageExtras,
  type UsageRecord,
} from '../../domain/usage.ts';

/** Text in an indexed column is cut to this: PostgreSQL takes about 2,700 bytes per index entry, and providers and clients choose these ids. */
export const INDEXED_CHARS_MAX = 512;
/** Budgets of one call; what is beyond is counted for the ledgers of its payers. */
export const CHARGES_MAX = 1_000;
/** Other text is cut to this. */
export const TEXT_CHARS_MAX = 8_192;

export type CheckedRecord = { readonly record: UsageRecord } | { readonly reason: string };

/**
 * A record as it may be stored, or why not. Too long text is cut, because losing the end of a name is better than setting aside money;
 * what is wrong in kind or in number is refused.
 */
export function checkUsageRecord(value: unknown): CheckedRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { reason: 'not an object' };
  const given = value as Readonly<Record<string, unknown>>;
  const usage = given.usage as Readonly<Record<string, unknown>> | null | undefined;
  if (typeof usage !== 'object' || usage === null) return { reason: 'usage is not an object' };
  try {
    return {
      record: {
        requestId: id(given, 'requestId'),
        callId: indexed(given, 'callId'),
        token: id(given, 'token'),
        keyAlias: textOrNull(given, 'keyAlias'),
        userId: indexedOrNull(given, 'userId'),
        teamId: indexedOrNull(given, 'teamId'),
        organizationId: textOrNull(given, 'organizationId'),
        endUser: textOrNull(given, 'endUser'),
        sessionId: indexedOrNull(given, 'sessionId'),
        callType: text(given, 'callType') as UsageRecord['callType'],
        route: text(given, 'route'),
        modelGroup: text(given, 'modelGroup'),
        model: text(given, 'model'),
        modelId: text(given, 'modelId'),
        provider: text(given, 'provider'),
        apiBase: text(given, 'apiBase'),
        stream: flag(given, 'stream'),
        tags: texts(given, 'tags'),
        clientIp: textOrNull(given, 'clientIp'),
        startedAtMs: moment(given, 'startedAtMs'),
        estimateNano: count(given, 'estimateNano') as Nano,
        ...charges(given),
        status: status(given),
        httpStatus: httpStatus(given),
        errorCode: textOrNull(given, 'errorCode'),
        providerId: indexedOrNull(given, 'providerId'),
        answeredModel: textOrNull(given, 'answeredModel'),
        usage: {
          promptTokens: count(usage, 'promptTokens'),
          completionTokens: count(usage, 'completionTokens'),
          totalTokens: count(usage, 'totalTokens'),
          cachedTokens: count(usage, 'cachedTokens'),
          cacheWriteTokens: count(usage, 'cacheWriteTokens'),
          reasoningTokens: count(usage, 'reasoningTokens'),
          audioInputTokens: count(usage, 'audioInputTokens'),
          audioOutputTokens: count(usage, 'audioOutputTokens'),
          extras: extras(usage),
        },
        estimated: flag(given, 'estimated'),
        costNano: count(given, 'costNano') as Nano,
        providerCostNano: costOrNull(given, 'providerCostNano'),
        formulaCostNano: given.formulaCostNano === undefined ? undefined : costOrNull(given, 'formulaCostNano'),
        breakdown: breakdown(given),
        firstTokenAtMs: given.firstTokenAtMs === null ? null : moment(given, 'firstTokenAtMs'),
        endedAtMs: moment(given, 'endedAtMs'),
        seq: count(given, 'seq'),
      },
    };
  } catch (error) {
    if (error instanceof Invalid) return { reason: error.message };
    throw error;
  }
}

class Invalid extends Error {}

type Given = Readonly<Record<string, unknown>>;

/** PostgreSQL stores neither NUL nor half of a surrogate pair. */
const SUSPICIOUS = /[\0\ud800-\udfff]/;
const UNSTORABLE = /\0|\p{Surrogate}/gu;
/** The last moment of year 9999; later ones have no ISO text that PostgreSQL reads. */
const MOMENT_MAX = 253_402_300_799_999;

function text(given: Given, name: string, charsMax = TEXT_CHARS_MAX): string {
  const value = given[name];
  if (typeof value !== 'string') throw new Invalid(`${name} is not text`);
  return storable(value, charsMax);
}

function storable(value: string, charsMax: number): string {
  // Cutting may halve a surrogate pair, so it comes first.
  const cut = value.length > charsMax ? value.slice(0, charsMax) : value;
  return SUSPICIOUS.test(cut) ? cut.replace(UNSTORABLE, '\ufffd') : cut;
}

/** An id that rows are joined by: cutting or mending it would make it another one. */
function id(given: Given, name: string): string {
  const value = given[name];
  if (typeof value !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(value)) throw new Invalid(`${name} is not an id`);
  return value;
}

function indexed(given: Given, name: string): string {
  return text(given, name, INDEXED_CHARS_MAX);
}

function textOrNull(given: Given, name: string): string | null {
  return given[name] === null ? null : text(given, name);
}

function indexedOrNull(given: Given, name: string): string | null {
  return given[name] === null ? null : indexed(given, name);
}

function texts(given: Given, name: string): string[] {
  const value = given[name];
  if (!Array.isArray(value)) throw new Invalid(`${name} is not a list`);
  return value.map((item: unknown) => {
    if (typeof item !== 'string') throw new Invalid(`${name} is not a list of texts`);
    return storable(item, TEXT_CHARS_MAX);
  });
}

function flag(given: Given, name: string): boolean {
  const value = given[name];
  if (typeof value !== 'boolean') throw new Invalid(`${name} is neither true nor false`);
  return value;
}

function count(given: Given, name: string): number {
  const value = given[name];
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new Invalid(`${name} is not a whole number of 0 or more`);
  return value as number;
}

function costOrNull(given: Given, name: string): Nano | null {
  return given[name] === undefined || given[name] === null ? null : (count(given, name) as Nano);
}

/** Names that this version does not know are left out: a newer worker may count more. */
function extras(usage: Given): UsageExtras | undefined {
  const value = usage.extras;
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) throw new Invalid('usage.extras is not an object');
  const written = value as Given;
  const known: Record<string, unknown> = {};
  for (const name of [...USAGE_COUNTS, 'reportedNano'])
    if (written[name] !== undefined) known[name] = count(written, name);
  for (const name of ['serviceTier', 'searchContextSize']) {
    if (written[name] !== undefined) known[name] = text(written, name, EXTRA_CHARS_MAX);
  }
  if (written.factors !== undefined) known.factors = texts(written, 'factors').slice(0, EXTRA_FACTORS_MAX);
  return Object.keys(known).length === 0 ? undefined : (known as UsageExtras);
}

const EXTRA_CHARS_MAX = 64;
const EXTRA_FACTORS_MAX = 8;

/** Parts that do not add up explain nothing: they are left out, the money is not. */
function breakdown({ breakdown: value, costNano }: Given): CostBreakdown | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  let sum = 0;
  for (const [name, nano] of Object.entries(value as Given)) {
    if (!Number.isSafeInteger(nano) || !PART_NAMES.has(name)) return null;
    sum += nano as number;
  }
  return sum === costNano ? (value as CostBreakdown) : null;
}

const PART_NAMES: ReadonlySet<string> = new Set(COST_PARTS);

function moment(given: Given, name: string): number {
  const value = given[name];
  if (typeof value !== 'number' || !(value >= 0 && value <= MOMENT_MAX)) throw new Invalid(`${name} is not a moment`);
  return value;
}

function status(given: Given): UsageRecord['status'] {
  if (given.status === 'success' || given.status === 'failure') return given.status;
  throw new Invalid('status is neither success nor failure');
}

function httpStatus(given: Given): number {
  const value = given.httpStatus;
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 999) return value as number;
  throw new Invalid('httpStatus is not an HTTP status');
}

/** A charge that makes no sense is left out: the spend is then counted for the ledgers of its payers. */
function charges(given: Readonly<Record<string, unknown>>): Pick<UsageRecord, 'charges'> {
  if (!Array.isArray(given.charges)) return {};
  const usable = given.charges.filter((charge): charge is Charge => isCharge(charge));
  return usable.length === 0 ? {} : { charges: usable.slice(0, CHARGES_MAX) };
}

function isCharge(charge: unknown): boolean {
  if (!Array.isArray(charge) || charge.length !== 2) return false;
  const [ledger, periodStartMs] = charge as unknown[];
  return (
    typeof ledger === 'string' &&
    ledger !== '' &&
    ledger.length <= TEXT_CHARS_MAX &&
    Number.isSafeInteger(periodStartMs)
  );
}
