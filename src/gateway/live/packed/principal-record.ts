/**
 * A principal as a record of 96 bytes, in the byte order of the machine:
 *
 *    0  digest of the key (32)        64  tpm limit
 *   32  moment of expiry, double      68  parallel requests
 *   40  spend in nano-dollars, int64  72  key name: the four characters behind `sk-...`
 *   48  budget in dollars, double     76  names: blob of alias and user
 *   56  flags                         80  team: number of a text
 *   60  rpm limit                     84  rights: number of a text
 *                                     88  tags: number of a text
 *                                     92  cold: blob of JSON with what does not fit here
 *
 * Alias and user are hardly ever shared, so they stand in one blob; team, rights (organization, project, models, routes, regions, further terms)
 * and tags are shared by many keys, so they are kept once each.
 */
import type { JsonObject, JsonValue, KeyDigest, Principal } from '../../../domain/virtual-key.ts';
import { type BlobPool, NO_BLOB } from './blob-pool.ts';
import type { RecordList } from './record-list.ts';
import { NO_TEXT, type TextTable } from './text-table.ts';

export const PRINCIPAL_RECORD_BYTES = 96;

/** Where the fields lie that stand for texts. */
export interface Pools {
  readonly names: BlobPool;
  readonly texts: TextTable;
  readonly cold: BlobPool;
}

const EXPIRES_DOUBLE = 4;
const SPEND_LONG = 5;
const BUDGET_DOUBLE = 6;
const FLAGS = 14;
const RPM = 15;
const TPM = 16;
const PARALLEL = 17;
const KEY_NAME = 18;
const NAMES = 19;
const TEAM = 20;
const RIGHTS = 21;
const TAGS = 22;
const COLD = 23;

const BLOCKED = 1;
const STRICT = 2;
const HAS_ALIAS = 4;
const HAS_USER = 8;
const KEY_NAME_INSIDE = 16;
/** The spend does not fit into 64 bits and is kept beside the records. */
const WIDE_SPEND = 32;

/** A limit that is null. */
const UNLIMITED = 0xffffffff;
/** A limit that is no integer, or too large for a record. */
const LIMIT_IS_COLD = 0xfffffffe;

const KEY_NAME_START = 'sk-...';
const KEY_NAME_FORM = /^sk-\.\.\.[\x20-\x7e]{4}$/;
const NAMES_SEPARATOR = '\0';
/** What can not stand in a blob of names: its separator, and half characters, which UTF-8 does not know. */
const NOT_IN_NAMES = /[\0\p{Surrogate}]/u;

type Rights = [
  organizationId: string | null,
  projectId: string | null,
  models: string[],
  allowedRoutes: string[],
  allowedRegions: string[],
  /** Of keys that have any: often many have the same. */
  terms?: Pick<Principal, 'limits' | 'budgets' | 'budgetId'>,
];

/** Writes everything but digest and spend. What the record referred to before is the caller's to release. */
export function packPrincipal(records: RecordList, slot: number, principal: Principal, pools: Pools): void {
  const cold = coldFieldsOf(principal);
  const { keyName, keyAlias, userId, teamId, expiresAtMs, maxBudget, tags } = principal;
  const aliasInside = keyAlias !== null && cold.keyAlias === undefined;
  const userInside = userId !== null && cold.userId === undefined;
  const keyNameInside = cold.keyName === undefined;
  const inside = [...(aliasInside ? [keyAlias] : []), ...(userInside ? [userId] : [])];
  const { words, doubles, bytes } = records.writableChunkOf(slot);
  const start = records.byteOf(slot);
  const at = start / 4;
  doubles[at / 2 + EXPIRES_DOUBLE] = expiresAtMs ?? Number.NaN;
  doubles[at / 2 + BUDGET_DOUBLE] = maxBudget ?? Number.NaN;
  words[at + FLAGS] =
    (words[at + FLAGS]! & WIDE_SPEND) |
    (principal.blocked ? BLOCKED : 0) |
    (principal.fence === 'strict' ? STRICT : 0) |
    (aliasInside ? HAS_ALIAS : 0) |
    (userInside ? HAS_USER : 0) |
    (keyNameInside ? KEY_NAME_INSIDE : 0);
  words[at + RPM] = limitWord(principal.rpmLimit);
  words[at + TPM] = limitWord(principal.tpmLimit);
  words[at + PARALLEL] = limitWord(principal.maxParallelRequests);
  if (keyNameInside) bytes.write(keyName.slice(KEY_NAME_START.length), start + KEY_NAME * 4, 4, 'latin1');
  words[at + NAMES] = inside.length === 0 ? NO_BLOB : pools.names.add(inside.join(NAMES_SEPARATOR));
  words[at + TEAM] = teamId === null ? NO_TEXT : pools.texts.add(teamId);
  words[at + RIGHTS] = pools.texts.add(rightsOf(principal));
  words[at + TAGS] = tags.length === 0 ? NO_TEXT : pools.texts.add(tags as string[]);
  words[at + COLD] = isEmpty(cold) ? NO_BLOB : pools.cold.add(JSON.stringify(cold));
}

export function unpackPrincipal(records: RecordList, slot: number, token: KeyDigest, pools: Pools): Principal {
  const { words, doubles, bytes } = records.chunkOf(slot);
  const start = records.byteOf(slot);
  const at = start / 4;
  const flags = words[at + FLAGS]!;
  const expiresAtMs = doubles[at / 2 + EXPIRES_DOUBLE]!;
  const maxBudget = doubles[at / 2 + BUDGET_DOUBLE]!;
  let keyAlias: string | null = null;
  let userId: string | null = null;
  if ((flags & (HAS_ALIAS | HAS_USER)) !== 0) {
    const names = pools.names.text(words[at + NAMES]!);
    if ((flags & HAS_USER) === 0) keyAlias = names;
    else if ((flags & HAS_ALIAS) === 0) userId = names;
    else {
      const separator = names.indexOf(NAMES_SEPARATOR);
      keyAlias = names.slice(0, separator);
      userId = names.slice(separator + 1);
    }
  }
  const rights = pools.texts.value(words[at + RIGHTS]!) as Rights;
  const principal: Principal = {
    token,
    keyName: (flags & KEY_NAME_INSIDE) === 0 ? '' : keyNameIn(bytes, start + KEY_NAME * 4),
    keyAlias,
    expiresAtMs: Number.isNaN(expiresAtMs) ? null : expiresAtMs,
    blocked: (flags & BLOCKED) !== 0,
    models: rights[2],
    aliases: NOTHING,
    allowedRoutes: rights[3],
    userId,
    teamId: words[at + TEAM] === NO_TEXT ? null : (pools.texts.value(words[at + TEAM]!) as string),
    organizationId: rights[0],
    projectId: rights[1],
    maxBudget: Number.isNaN(maxBudget) ? null : maxBudget,
    rpmLimit: limitIn(words[at + RPM]!),
    tpmLimit: limitIn(words[at + TPM]!),
    maxParallelRequests: limitIn(words[at + PARALLEL]!),
    tags: words[at + TAGS] === NO_TEXT ? NONE : (pools.texts.value(words[at + TAGS]!) as string[]),
    allowedRegions: rights[4],
    fence: (flags & STRICT) === 0 ? 'normal' : 'strict',
  };
  const cold = words[at + COLD]!;
  const terms = rights[5];
  if (cold === NO_BLOB) return terms === undefined ? principal : { ...principal, ...terms };
  return { ...principal, ...terms, ...JSON.parse(pools.cold.text(cold)) };
}

/** What a record refers to. */
export interface References {
  readonly names: number;
  readonly cold: number;
  readonly texts: readonly number[];
}

export function referencesAt(records: RecordList, slot: number): References {
  const { words } = records.chunkOf(slot);
  const at = records.byteOf(slot) / 4;
  return {
    names: words[at + NAMES]!,
    cold: words[at + COLD]!,
    texts: [words[at + TEAM]!, words[at + RIGHTS]!, words[at + TAGS]!],
  };
}

export function releaseReferences({ names, cold, texts }: References, pools: Pools): void {
  if (names !== NO_BLOB) pools.names.free(names);
  if (cold !== NO_BLOB) pools.cold.free(cold);
  for (const text of texts) pools.texts.release(text);
}

export function isBlockedAt(records: RecordList, slot: number): boolean {
  return (records.chunkOf(slot).words[records.byteOf(slot) / 4 + FLAGS]! & BLOCKED) !== 0;
}

export function blockAt(records: RecordList, slot: number): void {
  records.writableChunkOf(slot).words[records.byteOf(slot) / 4 + FLAGS]! |= BLOCKED;
}

/** Null when the spend does not fit into the record. */
export function spendAt(records: RecordList, slot: number): bigint | null {
  const { words, longs } = records.chunkOf(slot);
  const start = records.byteOf(slot);
  return (words[start / 4 + FLAGS]! & WIDE_SPEND) === 0 ? longs[start / 8 + SPEND_LONG]! : null;
}

/** Returns whether it fits. */
export function setSpendAt(records: RecordList, slot: number, spendNano: bigint): boolean {
  const { words, longs } = records.writableChunkOf(slot);
  const start = records.byteOf(slot);
  const fits = BigInt.asIntN(64, spendNano) === spendNano;
  longs[start / 8 + SPEND_LONG] = fits ? spendNano : 0n;
  if (fits) words[start / 4 + FLAGS]! &= ~WIDE_SPEND;
  else words[start / 4 + FLAGS]! |= WIDE_SPEND;
  return fits;
}

const NONE: readonly string[] = Object.freeze([]);
const NOTHING: Readonly<Record<string, string>> = Object.freeze({});

/** Fields that a record has no place for, under their names: those of a later version, and values that hardly occur. */
function coldFieldsOf(principal: Principal): JsonObject {
  const {
    token: _token,
    keyName,
    keyAlias,
    expiresAtMs: _expiresAtMs,
    blocked: _blocked,
    models: _models,
    aliases,
    allowedRoutes: _allowedRoutes,
    userId,
    teamId: _teamId,
    organizationId: _organizationId,
    projectId: _projectId,
    maxBudget: _maxBudget,
    rpmLimit,
    tpmLimit,
    maxParallelRequests,
    tags: _tags,
    allowedRegions: _allowedRegions,
    fence: _fence,
    limits: _limits,
    budgets: _budgets,
    budgetId: _budgetId,
    ...others
  } = principal;
  const cold = others as JsonObject;
  if (!KEY_NAME_FORM.test(keyName)) cold.keyName = keyName;
  if (keyAlias !== null && NOT_IN_NAMES.test(keyAlias)) cold.keyAlias = keyAlias;
  if (userId !== null && NOT_IN_NAMES.test(userId)) cold.userId = userId;
  if (!isEmpty(aliases)) cold.aliases = aliases;
  if (limitWord(rpmLimit) === LIMIT_IS_COLD) cold.rpmLimit = rpmLimit;
  if (limitWord(tpmLimit) === LIMIT_IS_COLD) cold.tpmLimit = tpmLimit;
  if (limitWord(maxParallelRequests) === LIMIT_IS_COLD) cold.maxParallelRequests = maxParallelRequests;
  return cold;
}

function rightsOf(principal: Principal): JsonValue {
  const { organizationId, projectId, models, allowedRoutes, allowedRegions, limits, budgets, budgetId } = principal;
  const rights: Rights = [
    organizationId,
    projectId,
    models as string[],
    allowedRoutes as string[],
    allowedRegions as string[],
  ];
  if (limits !== undefined || budgets !== undefined || budgetId !== undefined) {
    rights.push({
      ...(limits === undefined ? {} : { limits }),
      ...(budgets === undefined ? {} : { budgets }),
      ...(budgetId === undefined ? {} : { budgetId }),
    });
  }
  return rights as unknown as JsonValue;
}

function limitWord(limit: number | null): number {
  if (limit === null) return UNLIMITED;
  return Number.isInteger(limit) && limit >= 0 && limit < LIMIT_IS_COLD ? limit : LIMIT_IS_COLD;
}

function limitIn(word: number): number | null {
  return word >= LIMIT_IS_COLD ? null : word;
}

function keyNameIn(bytes: Buffer, at: number): string {
  return KEY_NAME_START + String.fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!);
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}
