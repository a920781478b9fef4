import type { IncomingHttpHeaders } from 'node:http';
import { unknownCriticalField } from '../../domain/critical-fields.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { checkGenerated, keyName, looksGenerated, maskKey } from '../../domain/generated-key.ts';
import type { KeyDigest } from '../../domain/virtual-key.ts';
import type { Clock } from '../../util/clock.ts';
import type { KeyEntry, Knowledge } from '../live/knowledge.ts';
import { credentialOf } from './credential.ts';
import { hmacSha256, keyDigest } from './key-digest.ts';
import { type KeyScope, scopeOf } from './key-scope.ts';
import type { UnknownKeyWaits } from './unknown-key-waits.ts';

/** Knowledge older than this can not say that a well-formed key does not exist: it may have been made since. */
export const UNKNOWN_KEY_KNOWLEDGE_AGE_MAX_MS = 5_000;

export interface Identity {
  readonly entry: KeyEntry;
  /** What team, user and organization of the key say. */
  readonly scope: KeyScope;
  readonly isMaster: boolean;
}

export interface Authenticate {
  /**
   * Who is calling, from memory: one digest and one look-up. Null: a key that may have been made a moment ago. Throws the 401 of a key that is
   * known to be bad, and 503 for what can not be known; never 401 for "I do not know".
   */
  identify(headers: IncomingHttpHeaders): Identity | null;
  /** What to do after null: waits until knowledge is newer than this call, within bounds, and looks again. Rejects as `identify` throws. */
  identifyNew(headers: IncomingHttpHeaders, address: string): Promise<Identity>;
}

export interface AuthenticateOptions {
  readonly knowledge: Knowledge;
  /** Null on a worker that joined an admin: it does not know the master key. */
  readonly masterKey: string | null;
  readonly clock: Clock;
  readonly waits: Pick<UnknownKeyWaits, 'begin'>;
  readonly onWaited?: (outcome: UnknownKeyOutcome) => void;
}

/** found, refused: after the wait. not_in_time: 503. not_waited: too many wait already; 401 at once. */
export type UnknownKeyOutcome = 'found' | 'refused' | 'not_in_time' | 'not_waited';

export function createAuthenticate({
  knowledge,
  masterKey,
  clock,
  waits,
  onWaited = () => {},
}: AuthenticateOptions): Authenticate {
  // Whoever holds the master key is nobody's team, and no user can be blocked away from it.
  const masterKeyEntry = masterEntry();
  const scope = scopeOf(NO_ACCOUNTS, { ...masterKeyEntry.principal, userId: null });
  const master: Identity = { entry: masterKeyEntry, scope, isMaster: true };
  const masterDigest = masterKey === null ? null : keyDigest(masterKey);
  const knowsMaster = masterKey !== null;

  function identify(headers: IncomingHttpHeaders): Identity | null {
    const key = credentialOf(headers, knowledge.configuration.general.keyHeaderName);
    const digest = keyDigest(key);
    // Digests are compared, not keys: how far two of them agree tells nothing about the key.
    if (digest === masterDigest) return master;
    const entry = knowledge.key(digest);
    if (entry === undefined) {
      const refusal = refusalOfUnknownKey(knowledge, key, digest, knowsMaster);
      if (refusal !== null) throw refusal;
      return null;
    }
    const { principal } = entry;
    if (principal.blocked) throw new ClavigerError('blocked_key');
    const unknownRule = unknownCriticalField(principal);
    if (unknownRule !== null) throw new ClavigerError('unsupported_rule', { field: unknownRule });
    const scope = scopeOf(knowledge, principal);
    if (scope.ownerRefusal !== null) throw scope.ownerRefusal();
    if (principal.expiresAtMs !== null && principal.expiresAtMs <= clock.nowMs()) {
      throw new ClavigerError(
        'expired_key',
        { expires: new Date(principal.expiresAtMs).toISOString(), now: new Date(clock.nowMs()).toISOString() },
        { param: principal.token },
      );
    }
    if (scope.groupRefusal !== null) throw scope.groupRefusal();
    const stalenessMs = knowledge.stalenessMs(principal.fence);
    if (stalenessMs > knowledge.fences[principal.fence])
      throw staleKnowledge(stalenessMs, knowledge.fences[principal.fence]);
    return { entry, scope, isMaster: false };
  }

  return {
    identify,
    async identifyNew(headers, address) {
      const digest = keyDigest(credentialOf(headers, knowledge.configuration.general.keyHeaderName));
      const wait = waits.begin(address, () => knowledge.key(digest) !== undefined);
      const outcome = wait === null ? 'not waited' : await wait;
      try {
        // Also when it was not in time: the key may have come all the same.
        const identity = identify(headers);
        if (identity !== null) {
          onWaited('found');
          return identity;
        }
      } catch (refusal) {
        onWaited('refused');
        throw refusal;
      }
      if (outcome === 'not in time') {
        onWaited('not_in_time');
        throw new ClavigerError('key_not_known_here');
      }
      onWaited(outcome === 'confirmed' ? 'refused' : 'not_waited');
      throw unknownKey(credentialOf(headers, knowledge.configuration.general.keyHeaderName), knowsMaster);
    },
  };
}

const NO_ACCOUNTS: Pick<Knowledge, 'account' | 'accountsVersion'> = { account: () => undefined, accountsVersion: 0 };

/** In this order; null: nothing speaks against a key that is very new. */
function refusalOfUnknownKey(
  knowledge: Knowledge,
  key: string,
  digest: KeyDigest,
  knowsMaster: boolean,
): ClavigerError | null {
  if (knowledge.position === null) return new ClavigerError('no_usable_snapshot');
  if (!key.startsWith('sk-')) {
    return knowsMaster ? new ClavigerError('not_a_virtual_key', { maskedKey: maskKey(key) }) : unknownKey(key, false);
  }
  if (knowledge.isDeleted(digest)) return new ClavigerError('deleted_key', { keyName: keyName(key), token: digest });
  const { fleetKey } = knowledge;
  if (fleetKey !== null && looksGenerated(key) && !checkGenerated(key, fleetKey, hmacSha256))
    return unknownKey(key, knowsMaster);
  if (knowledge.ageMs() > UNKNOWN_KEY_KNOWLEDGE_AGE_MAX_MS) return new ClavigerError('key_not_known_here');
  return null;
}

/** What does not have the form of a generated key may be the master key, which only admins know. */
function unknownKey(key: string, knowsMaster: boolean): ClavigerError {
  if (!knowsMaster && !looksGenerated(key)) {
    // Without its hash: people choose master keys, and a short one can be guessed from it.
    return new ClavigerError('unknown_key_on_joined_worker', { keyName: keyName(key) });
  }
  return new ClavigerError('unknown_key', { keyName: keyName(key), token: keyDigest(key) });
}

/** A key that could have been blocked longer ago than its fence allows. */
function staleKnowledge(stalenessMs: number, fenceMs: number): ClavigerError {
  const confirmed = Number.isFinite(stalenessMs)
    ? `${Math.ceil(stalenessMs / 1000)} seconds ago`
    : 'at a time that can not be proved';
  return new ClavigerError('stale_knowledge', { confirmed, fenceSeconds: fenceMs / 1000 });
}

/** The master key is a principal like any other to the request path: no limits, every model. */
function masterEntry(): KeyEntry {
  return {
    principal: {
      token: MASTER_KEY_TOKEN as KeyDigest,
      keyName: 'master key',
      keyAlias: MASTER_KEY_TOKEN,
      expiresAtMs: null,
      blocked: false,
      models: [],
      aliases: {},
      allowedRoutes: [],
      userId: 'default_user_id',
      teamId: null,
      organizationId: null,
      projectId: null,
      maxBudget: null,
      rpmLimit: null,
      tpmLimit: null,
      maxParallelRequests: null,
      tags: [],
      allowedRegions: [],
      fence: 'normal',
    },
    spendNano: 0n,
    series: null,
  };
}

/** Stands for the master key in usage rows and metrics; its hash appears nowhere. */
export const MASTER_KEY_TOKEN = 'litellm_proxy_master_key';
