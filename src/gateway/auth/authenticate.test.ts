import { describe, expect, it } from 'vitest';
import { at, FLEET_KEY, principalOf } from '../../../tests/support/principals.ts';
import { type Account, type AccountKind, accountKey } from '../../domain/account.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { ClavigerError, type ErrorCode } from '../../domain/error-catalogue.ts';
import { makeGeneratedKey } from '../../domain/generated-key.ts';
import type { FenceClass, Principal } from '../../domain/virtual-key.ts';
import type { Knowledge } from '../live/knowledge.ts';
import { createAuthenticate, type UnknownKeyOutcome } from './authenticate.ts';
import { hmacSha256, keyDigest } from './key-digest.ts';
import type { WaitOutcome } from './unknown-key-waits.ts';

const fleetKey = Buffer.from(FLEET_KEY, 'base64');
const MASTER = 'sk-master-0123456789';
const NEW_KEY = makeGeneratedKey(Buffer.alloc(16, 1), fleetKey, hmacSha256);
const NOISE = `${NEW_KEY.slice(0, -1)}${NEW_KEY.endsWith('A') ? 'B' : 'A'}`;
const DELETED = 'sk-deleted-0123456789';

/** What the gateway knows, and how old that is; the test changes it as time goes by. */
class FakeKnowledge implements Knowledge {
  position: Knowledge['position'] = at(7);
  readonly fleetKey = fleetKey;
  readonly fences = { normal: 24 * 60 * 60_000, strict: 60_000 };
  readonly configuration = { general: { keyHeaderName: null } } as Configuration;
  readonly keys = new Map<string, Principal>();
  readonly accounts = new Map<string, Account>();
  accountsVersion = 0;
  account = (kind: AccountKind, id: string) => this.accounts.get(accountKey(kind, id));
  readonly staleness: Record<FenceClass, number> = { normal: 0, strict: 0 };
  age = 0;
  key(digest: string) {
    const principal = this.keys.get(digest);
    return principal === undefined ? undefined : { principal, spendNano: 0n, series: null };
  }
  isDeleted = (digest: string) => digest === keyDigest(DELETED);
  ageMs = () => this.age;
  stalenessMs = (fence: FenceClass) => this.staleness[fence];
  add(key: string, fields: Partial<Principal> = {}): void {
    this.keys.set(keyDigest(key), principalOf('', { ...fields, token: keyDigest(key) }));
  }
}

function start(wait: (knowledge: FakeKnowledge) => WaitOutcome | null = () => 'confirmed') {
  const knowledge = new FakeKnowledge();
  const outcomes: UnknownKeyOutcome[] = [];
  const addresses: string[] = [];
  const { identify, identifyNew } = createAuthenticate({
    knowledge,
    masterKey: MASTER,
    clock: { nowMs: () => 1_000, monotonicMs: () => 0 },
    waits: {
      begin(address) {
        addresses.push(address);
        const outcome = wait(knowledge);
        return outcome === null ? null : Promise.resolve(outcome);
      },
    },
    onWaited: (outcome) => outcomes.push(outcome),
  });
  const headers = (key: string) => ({ authorization: `Bearer ${key}` });
  return {
    knowledge,
    outcomes,
    addresses,
    now: (key: string) => identify(headers(key)),
    later: (key: string) => identifyNew(headers(key), '192.0.2.1'),
  };
}

async function codeOf(run: () => unknown): Promise<ErrorCode | null> {
  try {
    await run();
    return null;
  } catch (error) {
    if (error instanceof ClavigerError) return error.code;
    throw error;
  }
}

describe('a known key', () => {
  it('is admitted up to the fence of its class and not beyond, with a sentence that says what happened', async () => {
    const { knowledge, now } = start();
    knowledge.add('sk-normal-0123456789');
    knowledge.add('sk-strict-0123456789', { fence: 'strict' });
    for (const [key, fence] of [
      ['sk-normal-0123456789', 'normal'],
      ['sk-strict-0123456789', 'strict'],
    ] as const) {
      knowledge.staleness[fence] = knowledge.fences[fence];
      expect(now(key)?.entry.principal.fence).toBe(fence);
      knowledge.staleness[fence] += 1;
      expect(await codeOf(() => now(key))).toBe('stale_knowledge');
    }
    expect(() => now('sk-strict-0123456789')).toThrow(/last confirmed 61 seconds ago\..* served for 60 seconds/);
    knowledge.staleness.strict = Number.POSITIVE_INFINITY;
    expect(() => now('sk-strict-0123456789')).toThrow(/at a time that can not be proved/);
  });

  it('is refused as what it is known to be, however old that is', async () => {
    const { knowledge, now } = start();
    knowledge.add('sk-blocked-0123456789', { blocked: true });
    knowledge.add('sk-expired-0123456789', { expiresAtMs: 1 });
    knowledge.staleness.normal = Number.POSITIVE_INFINITY;
    expect(await codeOf(() => now('sk-blocked-0123456789'))).toBe('blocked_key');
    expect(await codeOf(() => now('sk-expired-0123456789'))).toBe('expired_key');
  });

  it('is none: the master key has no fence and needs no snapshot', () => {
    const { knowledge, now } = start();
    knowledge.position = null;
    knowledge.staleness.normal = Number.POSITIVE_INFINITY;
    expect(now(MASTER)?.isMaster).toBe(true);
  });
});

describe('an unknown key', () => {
  it('is answered in the order of the specification', async () => {
    const { knowledge, now } = start();
    knowledge.age = 60_000;
    expect(await codeOf(() => now(NEW_KEY))).toBe('key_not_known_here');
    expect(await codeOf(() => now('not-a-virtual-key'))).toBe('not_a_virtual_key');
    expect(await codeOf(() => now(NOISE))).toBe('unknown_key');
    expect(await codeOf(() => now(DELETED))).toBe('deleted_key');
    knowledge.age = 5_000;
    expect(now(NEW_KEY)).toBeNull();
    expect(now('sk-custom-0123456789')).toBeNull();
    expect(await codeOf(() => now(NOISE))).toBe('unknown_key');
    knowledge.age = 5_001;
    expect(await codeOf(() => now('sk-custom-0123456789'))).toBe('key_not_known_here');
    knowledge.position = null;
    for (const key of [NEW_KEY, NOISE, DELETED, 'not-a-virtual-key']) {
      expect(await codeOf(() => now(key))).toBe('no_usable_snapshot');
    }
  });

  it('is served when it arrives while the request waits', async () => {
    const { later, outcomes, addresses } = start((knowledge) => {
      knowledge.add(NEW_KEY);
      return 'confirmed';
    });
    expect((await later(NEW_KEY)).entry.principal.token).toBe(keyDigest(NEW_KEY));
    expect(outcomes).toEqual(['found']);
    expect(addresses).toEqual(['192.0.2.1']);
  });

  it('is 401 when the database has been asked since, and does not know it', async () => {
    const { later, outcomes } = start();
    expect(await codeOf(() => later(NEW_KEY))).toBe('unknown_key');
    expect(outcomes).toEqual(['refused']);
  });

  it('is refused as what it turned out to be while the request waited', async () => {
    const blocked = start((knowledge) => {
      knowledge.add(NEW_KEY, { blocked: true });
      return 'confirmed';
    });
    expect(await codeOf(() => blocked.later(NEW_KEY))).toBe('blocked_key');
    expect(blocked.outcomes).toEqual(['refused']);
    const cutOff = start((knowledge) => {
      knowledge.age = 60_000;
      return 'not in time';
    });
    expect(await codeOf(() => cutOff.later(NEW_KEY))).toBe('key_not_known_here');
  });

  it('is 503 and never 401 when nobody could be asked in time; unless it came all the same', async () => {
    const silent = start(() => 'not in time');
    expect(await codeOf(() => silent.later(NEW_KEY))).toBe('key_not_known_here');
    expect(silent.outcomes).toEqual(['not_in_time']);
    const late = start((knowledge) => {
      knowledge.add(NEW_KEY);
      return 'not in time';
    });
    expect((await late.later(NEW_KEY)).entry.principal.token).toBe(keyDigest(NEW_KEY));
  });

  it('is 401 at once when too many wait already', async () => {
    const { later, outcomes } = start(() => null);
    expect(await codeOf(() => later(NEW_KEY))).toBe('unknown_key');
    expect(outcomes).toEqual(['not_waited']);
  });
});
