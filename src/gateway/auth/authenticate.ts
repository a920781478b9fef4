import type { IncomingHttpHeaders } from 'node:http';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { checkGenerated, keyName, looksGenerated, maskKey } from '../../domain/generated-key.ts';
import type { KeyDigest } from '../../domain/virtual-key.ts';
import type { Clock } from '../../util/clock.ts';
import type { KeyEntry, Knowledge } from '../live/knowledge.ts';
import { credentialOf } from './credential.ts';
import { hmacSha256, keyDigest } from './key-digest.ts';

/** Knowledge older than this can not say that a well-formed key does not exist: it may have been made since. */
export const UNKNOWN_KEY_KNOWLEDGE_AGE_MAX_MS = 5_000;

export interface Identity {
  readonly entry: KeyEntry;
  readonly isMaster: boolean;
}

export type Authenticate = (headers: IncomingHttpHeaders) => Identity;

/**
 * Who is calling, from memory: one digest and one look-up. Throws the 401 of a key that is known to be bad, and 503 for what can
 * not be known; never 401 for "I do not know".
 */
export function createAuthenticate(knowledge: Knowledge, masterKey: string, clock: Clock): Authenticate {
  const master: Identity = { entry: masterEntry(), isMaster: true };
  const masterDigest = keyDigest(masterKey);

  return (headers) => {
    const key = credentialOf(headers, knowledge.configuration.general.keyHeaderName);
    const digest = keyDigest(key);
    // Digests are compared, not keys: how far two of them agree tells nothing about the key.
    if (digest === masterDigest) return master;
    const entry = knowledge.key(digest);
    if (entry === undefined) throw refusalOfUnknownKey(knowledge, key, digest);
    const { principal } = entry;
    if (principal.blocked) throw new ClavigerError('blocked_key');
    if (principal.expiresAtMs !== null && principal.expiresAtMs <= clock.nowMs()) {
      throw new ClavigerError(
        'expired_key',
        { expires: new Date(principal.expiresAtMs).toISOString(), now: new Date(clock.nowMs()).toISOString() },
        { param: principal.token },
      );
    }
    return { entry, isMaster: false };
  };
}

function refusalOfUnknownKey(knowledge: Knowledge, key: string, digest: KeyDigest): ClavigerError {
  if (knowledge.position === null) return new ClavigerError('no_usable_snapshot');
  if (!key.startsWith('sk-')) return new ClavigerError('not_a_virtual_key', { maskedKey: maskKey(key) });
  const values = { keyName: keyName(key), token: digest };
  if (knowledge.isDeleted(digest)) return new ClavigerError('deleted_key', values);
  const { fleetKey } = knowledge;
  if (fleetKey !== null && looksGenerated(key) && !checkGenerated(key, fleetKey, hmacSha256)) {
    return new ClavigerError('unknown_key', values);
  }
  if (knowledge.ageMs() > UNKNOWN_KEY_KNOWLEDGE_AGE_MAX_MS) return new ClavigerError('key_not_known_here');
  return new ClavigerError('unknown_key', values);
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
    },
    spendNano: 0n,
    series: null,
  };
}

/** Stands for the master key in usage rows and metrics; its hash appears nowhere. */
export const MASTER_KEY_TOKEN = 'litellm_proxy_master_key';
