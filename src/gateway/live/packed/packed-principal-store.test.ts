import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { accountChange, termsOf } from '../../../../tests/support/accounts.ts';
import { pick } from '../../../../tests/support/length.ts';
import {
  at,
  FLEET_KEY,
  keyChange,
  keyDeleted,
  principalOf,
  stateOf,
  tokenOf,
} from '../../../../tests/support/principals.ts';
import type { Change, Position } from '../../../domain/change.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import type { KeyDigest, Principal } from '../../../domain/virtual-key.ts';
import type { KeyEntry } from '../knowledge.ts';
import { MapPrincipalStore, type PrincipalStore, type StoreContents } from '../principal-store.ts';
import { readSnapshotFile, writeSnapshotFile } from '../snapshot-file.ts';
import { PackedPrincipalStore, packedContentsOf } from './packed-principal-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'packed-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Half of them begin alike, so that they want the same place in the index. */
const TOKENS = Array.from({ length: 10 }, (_, index) => {
  const token = tokenOf(index);
  return (index % 2 === 0 ? token : `00000001${token.slice(8)}`) as KeyDigest;
});

const text = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'b',
    'team-1',
    'ä🔑',
    'a\0b',
    '\ud800',
    'x'.repeat(254),
    'y'.repeat(300),
    'z'.repeat(70_000),
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const textOrNull = fc.option(text);
const list = fc.oneof(fc.constantFrom<string[]>([], ['gpt-4', 'gpt-4o', 'claude']), fc.array(text, { maxLength: 3 }));
const limit = fc.option(fc.constantFrom(0, 1, 600, 4_294_967_293, 4_294_967_294, 4_294_967_295, 1e12, 0.5, -1));
const spend = fc.bigInt({ min: -(10n ** 21n), max: 10n ** 21n });

const principal: fc.Arbitrary<Omit<Principal, 'token'>> = fc.record({
  keyName: fc.oneof(fc.constantFrom('sk-...aB3z', 'sk-...', 'sk-...äbcd', ''), text),
  keyAlias: textOrNull,
  expiresAtMs: fc.option(fc.constantFrom(0, -1, 1_893_456_000_000, 1.5)),
  blocked: fc.boolean(),
  models: list,
  aliases: fc.dictionary(fc.constantFrom('gpt', 'x', '__proto__'), text, { maxKeys: 2 }),
  allowedRoutes: list,
  userId: textOrNull,
  teamId: textOrNull,
  organizationId: textOrNull,
  projectId: textOrNull,
  maxBudget: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)),
  rpmLimit: limit,
  tpmLimit: limit,
  maxParallelRequests: limit,
  tags: list,
  allowedRegions: list,
  fence: fc.constantFrom('normal', 'strict'),
});
/** What keys have beyond that, if anything. */
const terms = fc.constantFrom<Pick<Principal, 'limits' | 'budgets' | 'budgetId'>>(
  {},
  { limits: { modelRpm: { gpt: 5, claude: 0 }, scope: 'global' } },
  { budgets: [termsOf(1.5), termsOf(3, { slot: 'window:1d', duration: '1d' })], budgetId: 'b' },
  { budgetId: '' },
);
/** As it is after its way through the feed: JSON, with or without a field that this version does not know. */
const received = fc
  .tuple(principal, terms, fc.constantFrom({}, { later: { x: [1] } }))
  .map(([fields, more, later]) => ({ ...fields, ...more, ...later }));
const token = fc.constantFrom(...TOKENS);
const key = fc
  .tuple(token, received)
  .map(([id, fields]): Principal => JSON.parse(JSON.stringify({ token: id, ...fields })));

type Step =
  | { readonly do: 'delta'; readonly changes: readonly ((rev: number) => Change)[] }
  | {
      readonly do: 'snapshot';
      readonly keys: readonly (readonly [Principal, bigint])[];
      readonly deleted: readonly string[];
    }
  | { readonly do: 'deny' | 'hold'; readonly token: KeyDigest }
  | { readonly do: 'deny-account'; readonly name: string }
  | { readonly do: 'settle'; readonly token: KeyDigest; readonly costNano: bigint }
  | { readonly do: 'freeze' | 'restart' | 'compact' };

const model = fc.constantFrom<StoredModel | null>(
  { id: 'm', modelName: 'gpt', litellmParams: { model: 'fake/x' }, modelInfo: {} },
  null,
);
const account = fc.tuple(
  fc.constantFrom('team' as const, 'customer' as const),
  fc.constantFrom('a', 'b:ä\n'),
  fc.option(fc.record({ blocked: fc.boolean(), models: list, alias: textOrNull })),
);
const change = fc.oneof(
  {
    weight: 6,
    arbitrary: key.map(
      (value) =>
        (rev: number): Change => ({ rev, kind: 'key', id: value.token, value }),
    ),
  },
  {
    weight: 3,
    arbitrary: token.map(
      (id) =>
        (rev: number): Change => ({ rev, kind: 'key', id, value: null }),
    ),
  },
  {
    weight: 2,
    arbitrary: account.map(
      (fields) =>
        (rev: number): Change =>
          accountChange(rev, ...fields),
    ),
  },
  {
    weight: 1,
    arbitrary: model.map(
      (value) =>
        (rev: number): Change => ({ rev, kind: 'model', id: 'm', value }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(null, FLEET_KEY, 'short').map(
      (value) =>
        (rev: number): Change => ({ rev, kind: 'setting', id: 'fleet_key', value }),
    ),
  },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('delta' as const), changes: fc.array(change, { maxLength: 6 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('snapshot' as const),
      keys: fc.array(fc.tuple(key, spend), { maxLength: 8 }),
      deleted: fc.array(token, { maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('deny' as const, 'hold' as const), token }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hold' as const), token }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('deny-account' as const),
      name: fc.constantFrom('team:a', 'customer:b:ä\n'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('settle' as const), token, costNano: spend }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('freeze' as const, 'restart' as const, 'compact' as const) }),
  },
);

const ACCOUNTS = [
  ['team', 'a'],
  ['customer', 'a'],
  ['team', 'b:ä\n'],
  ['customer', 'b:ä\n'],
] as const;

/** The packed store and the model of it, which are told the same. */
class Pair {
  readonly model = new MapPrincipalStore();
  packed: PackedPrincipalStore;
  readonly #recentKeysMax: number;
  /** Entries that requests hold on to, by token. */
  readonly #held = new Map<KeyDigest, readonly [KeyEntry, KeyEntry][]>();
  readonly #frozen: (readonly [unknown, StoreContents])[] = [];
  #rev = 1;

  constructor(recentKeysMax: number) {
    this.#recentKeysMax = recentKeysMax;
    this.packed = new PackedPrincipalStore(recentKeysMax);
    this.#snapshot([], []);
  }

  get #stores(): readonly PrincipalStore[] {
    return [this.model, this.packed];
  }

  async take(next: Step): Promise<void> {
    if (next.do === 'delta') this.#delta(next.changes);
    else if (next.do === 'snapshot') this.#snapshot(next.keys, next.deleted);
    else if (next.do === 'deny') for (const store of this.#stores) store.deny([next.token]);
    else if (next.do === 'deny-account') for (const store of this.#stores) store.deny([next.name]);
    else if (next.do === 'hold') this.#hold(next.token);
    else if (next.do === 'settle') this.#settle(next.token, next.costNano);
    else if (next.do === 'freeze') this.#frozen.push([stateOf(this.model), this.packed.contents()]);
    else await this.#replace(next.do);
  }

  check(): void {
    expect(stateOf(this.packed)).toEqual(stateOf(this.model));
    expect(this.packed.keyCount).toBe(this.model.keyCount);
    expect(this.packed.configRev).toBe(this.model.configRev);
    for (const [kind, id] of ACCOUNTS) expect(this.packed.account(kind, id)).toEqual(this.model.account(kind, id));
    expect(this.packed.fleetKey).toEqual(this.model.fleetKey);
    for (const id of TOKENS) {
      expect(this.packed.isDeleted(id)).toBe(this.model.isDeleted(id));
      expect(view(this.packed.key(id))).toEqual(view(this.model.key(id)));
    }
    for (const pairs of this.#held.values()) {
      for (const [expected, actual] of pairs) expect(view(actual)).toEqual(view(expected));
    }
  }

  /** What was frozen is as it was then. */
  checkFrozen(): void {
    for (const [expected, contents] of this.#frozen) {
      const store = new MapPrincipalStore();
      const collector = store.beginSnapshot();
      collector.addContents(contents);
      collector.commit(contents.position, contents.head);
      expect(stateOf(store)).toEqual(expected);
    }
  }

  #delta(makers: readonly ((rev: number) => Change)[]): void {
    const changes = makers.map((make, index) => make(this.#rev + 1 + index));
    this.#rev += changes.length;
    for (const { kind, id, value } of changes) if (kind === 'key' && value === null) this.#held.delete(id as KeyDigest);
    for (const store of this.#stores) store.applyDelta(at(this.#rev), changes, 'a'.repeat(64));
  }

  #snapshot(keys: readonly (readonly [Principal, bigint])[], deleted: readonly string[]): void {
    this.#rev += 1;
    this.#held.clear();
    for (const store of this.#stores) {
      const collector = store.beginSnapshot();
      collector.addSettings({ fleet_key: FLEET_KEY, x: { y: [1, null] } });
      collector.addKeys(keys.map(([value, spendNano]) => ({ principal: value, spendNano: String(spendNano) })));
      collector.addDeletedKeys(deleted);
      collector.commit(at(this.#rev));
    }
  }

  #hold(id: KeyDigest): void {
    const [expected, actual] = [this.model.key(id), this.packed.key(id)];
    if (expected === undefined || actual === undefined) return;
    this.#held.set(id, [...(this.#held.get(id) ?? []), [expected, actual]]);
  }

  #settle(id: KeyDigest, costNano: bigint): void {
    for (const pair of this.#held.get(id)?.slice(0, 1) ?? []) for (const entry of pair) entry.spendNano += costNano;
  }

  /** A process that goes on from the file of the one before; or a store of tables without gaps. */
  async #replace(how: 'restart' | 'compact'): Promise<void> {
    this.#held.clear();
    const next = new PackedPrincipalStore(this.#recentKeysMax);
    const collector = next.beginSnapshot();
    const contents = this.packed.contents();
    if (how === 'restart') {
      const path = join(directory, 'snapshot');
      await writeSnapshotFile(path, contents);
      readSnapshotFile(path, collector);
    } else collector.addContents(packedContentsOf(contents));
    collector.commit(contents.position, contents.head);
    this.packed = next;
  }
}

function view(entry: KeyEntry | undefined): unknown {
  return entry === undefined ? undefined : { principal: entry.principal, spendNano: entry.spendNano };
}

describe('PackedPrincipalStore', () => {
  it('does what the store of maps does, whatever it is told', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40, size: 'max' }),
        fc.integer({ min: 1, max: 12 }),
        async (steps, recentKeysMax) => {
          const pair = new Pair(recentKeysMax);
          for (const next of steps) {
            await pair.take(next);
            pair.check();
          }
          pair.checkFrozen();
        },
      ),
      { numRuns: pick(60, 1_500) },
    );
  }, 120_000);

  it('finds every key while its index grows, and after most are gone', () => {
    const store = new PackedPrincipalStore(8);
    const collector = store.beginSnapshot();
    collector.commit(at(1));
    const count = pick(3_000, 30_000);
    for (let index = 0; index < count; index += 1) {
      store.applyDelta(at(index + 2), [keyChange(index + 2, index)]);
      if (index % 97 === 0) {
        for (let known = 0; known <= index; known += 41)
          expect(store.key(tokenOf(known))?.principal.token).toBe(tokenOf(known));
      }
    }
    for (let index = 0; index < count; index += 1) {
      if (index % 10 !== 3) store.applyDelta(at(count + index + 2), [keyDeleted(count + index + 2, index)]);
    }
    for (let index = 0; index < count; index += 1) {
      expect([store.key(tokenOf(index)) !== undefined, store.isDeleted(tokenOf(index))]).toEqual([
        index % 10 === 3,
        index % 10 !== 3,
      ]);
    }
    expect(store.keyCount).toBe(count / 10);
  });

  it('knows nothing by what is no digest', () => {
    const store = storeWith(['a']);
    for (const id of ['', 'x', 'A'.repeat(64), 'g'.repeat(64), `${tokenOf('a')}0`, tokenOf('a').toUpperCase()]) {
      expect([store.key(id as KeyDigest), store.isDeleted(id as KeyDigest)]).toEqual([undefined, false]);
    }
  });

  it('gives the same entry to all who ask for a key in use', () => {
    const store = storeWith(['a', 'b', 'c'], 2);
    const entry = store.key(tokenOf('a'))!;
    entry.series = new Map();
    for (const name of ['b', 'a', 'c', 'a', 'b', 'a']) store.key(tokenOf(name));
    expect(store.key(tokenOf('a'))).toBe(entry);
    expect(entry.series).not.toBeNull();
  });

  it('loses nothing that is settled on an entry which had to make room, and keeps it true', () => {
    const store = storeWith(['a', 'b', 'c'], 1);
    const held = store.key(tokenOf('a'))!;
    store.key(tokenOf('b'));
    held.spendNano += 10n;
    expect(store.key(tokenOf('a'))?.spendNano).toBe(15n);
    store.key(tokenOf('c'));
    store.applyDelta(at(2), [keyChange(2, 'a', { blocked: true })]);
    store.key(tokenOf('b'));
    expect(held.principal.blocked).toBe(true);
    store.key(tokenOf('b'));
    store.applyDelta(at(3), [keyDeleted(3, 'a')]);
    held.spendNano += 1n;
    expect([held.principal.token, store.key(tokenOf('a'))]).toEqual([tokenOf('a'), undefined]);
    // Also over a snapshot: what is settled then counts for the key as it is now.
    const other = store.key(tokenOf('b'))!;
    const collector = store.beginSnapshot();
    collector.addKeys([{ principal: principalOf('b', { rpmLimit: 3 }), spendNano: '100' }]);
    collector.commit(at(4));
    other.spendNano += 1n;
    expect(store.key(tokenOf('b'))?.spendNano).toBe(101n);
    expect(other.principal.rpmLimit).toBe(3);
  });

  it('is written as of one moment while changes go on', async () => {
    const store = storeWith(Array.from({ length: 5_000 }, (_, index) => index));
    const before = stateOf(store);
    const path = join(directory, 'while-changes-go-on');
    const written = writeSnapshotFile(path, store.contents());
    let done = false;
    const end = written.then(() => {
      done = true;
    });
    let rev = 1;
    for (; !done; rev += 1) {
      const index = (rev * 7) % 5_000;
      store.key(tokenOf(index))!.spendNano += 1n;
      store.applyDelta(at(rev + 1), [
        rev % 3 === 0
          ? keyDeleted(rev + 1, index)
          : keyChange(rev + 1, index, { keyAlias: `new ${rev}`, teamId: `t${rev}` }),
        keyChange(rev + 1, `more ${rev}`),
      ]);
      if (rev % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await end;
    expect(rev).toBeGreaterThan(5);
    expect(stateOf(loaded(path, at(1)))).toEqual(before);
  });

  it('does not grow by changes that are made over and over', () => {
    const store = storeWith(Array.from({ length: 100 }, (_, index) => index));
    const round = (rev: number): void => {
      for (let index = 0; index < 100; index += 1) {
        const fields = {
          keyAlias: `alias-${rev % 7}`,
          teamId: `team-${rev % 5}`,
          aliases: { a: `b${rev % 3}` },
          tags: [`t${rev % 4}`],
        };
        store.applyDelta(at(rev), [keyDeleted(rev, `gone ${rev}`), keyChange(rev, index, fields)]);
        store.applyDelta(at(rev), [
          keyChange(rev, `gone ${rev}`),
          keyDeleted(rev, `gone ${rev}`),
          keyChange(rev, index, fields),
        ]);
      }
    };
    for (let rev = 2; rev < 30; rev += 1) round(rev);
    const { keyBytes, textBytes, coldBytes } = store.sizes;
    for (let rev = 30; rev < 100; rev += 1) round(rev);
    expect(store.sizes).toMatchObject({ keyBytes, textBytes, coldBytes });
  });
});

function storeWith(names: readonly (string | number)[], recentKeysMax?: number): PackedPrincipalStore {
  const store = new PackedPrincipalStore(recentKeysMax);
  const collector = store.beginSnapshot();
  collector.addKeys(names.map((name) => ({ principal: principalOf(name), spendNano: '5' })));
  collector.commit(at(1));
  return store;
}

function loaded(path: string, position: Position): PackedPrincipalStore {
  const store = new PackedPrincipalStore();
  const collector = store.beginSnapshot();
  readSnapshotFile(path, collector);
  collector.commit(position);
  return store;
}
