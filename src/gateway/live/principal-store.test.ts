import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accountChange, accountOf } from '../../../tests/support/accounts.ts';
import { pick } from '../../../tests/support/length.ts';
import {
  at,
  FLEET_KEY,
  keyChange,
  keyDeleted,
  principalOf,
  stateOf,
  tokenOf,
} from '../../../tests/support/principals.ts';
import type { Change } from '../../domain/change.ts';
import { PackedPrincipalStore } from './packed/packed-principal-store.ts';
import { MapPrincipalStore, type PrincipalStore } from './principal-store.ts';

describe.each([
  ['MapPrincipalStore', () => new MapPrincipalStore()],
  ['PackedPrincipalStore', () => new PackedPrincipalStore()],
  ['PackedPrincipalStore with one recent key', () => new PackedPrincipalStore(1)],
])('%s', (_name, emptyStore: () => PrincipalStore) => {
  function storeWith(...names: string[]): PrincipalStore {
    const store = emptyStore();
    const snapshot = store.beginSnapshot();
    snapshot.addKeys(names.map((name) => ({ principal: principalOf(name), spendNano: '5' })));
    snapshot.addSettings({ fleet_key: FLEET_KEY });
    snapshot.commit(at(1));
    return store;
  }

  it('knows nothing, and no position, before the first snapshot', () => {
    const store = emptyStore();
    expect(store.position).toBeNull();
    expect(store.fleetKey).toBeNull();
    expect(store.key(tokenOf('a'))).toBeUndefined();
  });

  it('changes nothing while a snapshot is collected, and everything when it is committed', () => {
    const store = storeWith('a');
    const snapshot = store.beginSnapshot();
    snapshot.addKeys([{ principal: principalOf('b'), spendNano: '7' }]);
    snapshot.addDeletedKeys([tokenOf('a')]);
    expect(store.key(tokenOf('a'))?.spendNano).toBe(5n);
    expect(store.key(tokenOf('b'))).toBeUndefined();
    snapshot.commit(at(9));
    expect(store.key(tokenOf('a'))).toBeUndefined();
    expect(store.isDeleted(tokenOf('a'))).toBe(true);
    expect(store.key(tokenOf('b'))?.spendNano).toBe(7n);
    expect(store.fleetKey).toBeNull();
    expect(store.position).toEqual(at(9));
  });

  it('keeps the entry of a key when the key changes, with its spend and its series', () => {
    const store = storeWith('a');
    const entry = store.key(tokenOf('a'))!;
    entry.spendNano += 10n;
    entry.series = new Map();
    store.applyDelta(at(2), [keyChange(2, 'a', { blocked: true })]);
    expect(store.key(tokenOf('a'))).toBe(entry);
    expect(entry).toMatchObject({ spendNano: 15n, principal: { blocked: true } });
    expect(entry.series).not.toBeNull();
  });

  it('remembers a deleted key as deleted until a key with the same digest is made', () => {
    const store = storeWith('a');
    store.applyDelta(at(2), [keyDeleted(2, 'a')]);
    expect([store.key(tokenOf('a')), store.isDeleted(tokenOf('a'))]).toEqual([undefined, true]);
    store.applyDelta(at(3), [keyChange(3, 'a')]);
    expect([store.key(tokenOf('a'))?.spendNano, store.isDeleted(tokenOf('a'))]).toEqual([0n, false]);
  });

  it('takes a new fleet key from a delta, and none from a value that is not 32 bytes', () => {
    const store = storeWith();
    expect(store.fleetKey).toEqual(Buffer.alloc(32, 7));
    const other = Buffer.alloc(32, 9);
    store.applyDelta(at(2), [{ rev: 2, kind: 'setting', id: 'fleet_key', value: other.toString('base64') }]);
    expect(store.fleetKey).toEqual(other);
    store.applyDelta(at(3), [{ rev: 3, kind: 'setting', id: 'fleet_key', value: 'short' }]);
    expect(store.fleetKey).toBeNull();
  });

  it('gives contents that later changes do not touch', () => {
    const store = storeWith('a', 'b');
    const contents = store.contents();
    store.applyDelta(at(2), [keyChange(2, 'a', { blocked: true }), keyDeleted(2, 'b')]);
    expect([...contents.keys()].map(({ principal }) => principal.blocked)).toEqual([false, false]);
    expect([...contents.deletedTokens()]).toEqual([]);
    expect(contents.position).toEqual(at(1));
  });

  it('knows accounts by kind and id, and counts each change of one', () => {
    const store = storeWith();
    const versions = [store.accountsVersion];
    store.applyDelta(at(2), [accountChange(2, 'team', 'x', { blocked: true }), accountChange(2, 'user', 'x')]);
    expect([store.account('team', 'x')?.blocked, store.account('user', 'x')?.blocked]).toEqual([true, false]);
    expect([store.account('customer', 'x'), store.account('team', 'user:x')]).toEqual([undefined, undefined]);
    versions.push(store.accountsVersion);
    store.applyDelta(at(3), [accountChange(3, 'team', 'x', null)]);
    expect([store.account('team', 'x'), store.accountCount]).toEqual([undefined, 1]);
    versions.push(store.accountsVersion);
    store.beginSnapshot().commit(at(4));
    versions.push(store.accountsVersion);
    expect(new Set(versions).size).toBe(4);
  });

  it('refuses an account that is denied, known or not, until a delta says what it is', () => {
    const store = storeWith();
    store.applyDelta(at(2), [accountChange(2, 'team', 'x')]);
    store.deny(['team:x', 'customer:never seen', 'nothing:x']);
    expect(store.account('team', 'x')?.blocked).toBe(true);
    expect(store.account('customer', 'never seen')?.blocked).toBe(true);
    expect(store.accountCount).toBe(2);
    store.applyDelta(at(3), [accountChange(3, 'team', 'x'), accountChange(3, 'customer', 'never seen', null)]);
    expect(store.account('team', 'x')).toEqual(accountOf('team', 'x'));
    expect(store.account('customer', 'never seen')).toBeUndefined();
  });

  it('has another set hash when an account is another one, whatever the order of its fields', () => {
    const hashOf = (...changes: Change[]): string => {
      const store = storeWith('a');
      store.applyDelta(at(2), changes);
      return store.setHash;
    };
    const limits = { modelRpm: { b: 1, a: 2 } };
    const ordered = accountChange(2, 'team', 'x', {
      models: ['m'],
      limits: { ...accountOf('team', 'x').limits, ...limits },
    });
    const reversed = JSON.parse(
      JSON.stringify(ordered, (_, value) =>
        typeof value === 'object' && value !== null && !Array.isArray(value)
          ? Object.fromEntries(Object.entries(value).reverse())
          : value,
      ),
    ) as Change;
    expect(hashOf(reversed)).toBe(hashOf(ordered));
    expect(hashOf(accountChange(2, 'team', 'x', { blocked: true }))).not.toBe(hashOf(accountChange(2, 'team', 'x')));
    expect(hashOf(accountChange(2, 'team', 'x'))).not.toBe(hashOf());
    expect(hashOf(accountChange(2, 'team', 'x'), accountChange(2, 'team', 'x', null))).toBe(hashOf());
  });

  it('is the same after a snapshot and the deltas behind it as after a later snapshot', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd');
    const change = fc.oneof(
      name.map(
        (id) =>
          (rev: number): Change =>
            keyDeleted(rev, id),
      ),
      fc.tuple(name, fc.boolean()).map(
        ([id, blocked]) =>
          (rev: number): Change =>
            keyChange(rev, id, { blocked }),
      ),
      fc.integer().map(
        (value) =>
          (rev: number): Change => ({ rev, kind: 'setting', id: 's', value }),
      ),
      fc.tuple(fc.constantFrom('team' as const, 'customer' as const), name, fc.option(fc.boolean())).map(
        ([kind, id, blocked]) =>
          (rev: number): Change =>
            accountChange(rev, kind, id, blocked === null ? null : { blocked }),
      ),
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.nat(30), (makers, cut) => {
        const changes = makers.map((make, index) => make(index + 2));
        const whole = storeWith('a', 'b');
        for (const each of changes) whole.applyDelta(at(each.rev), [each]);
        // A second store takes a snapshot in the middle, and the rest as one delta.
        const source = storeWith('a', 'b');
        for (const each of changes.slice(0, cut)) source.applyDelta(at(each.rev), [each]);
        const contents = source.contents();
        const copy = emptyStore();
        const snapshot = copy.beginSnapshot();
        snapshot.addKeys(
          [...contents.keys()].map(({ principal, spendNano }) => ({ principal, spendNano: String(spendNano) })),
        );
        snapshot.addDeletedKeys([...contents.deletedTokens()]);
        snapshot.addSettings(contents.settings);
        snapshot.addAccounts(contents.accounts);
        snapshot.commit(contents.position);
        const rest = changes.slice(cut);
        copy.applyDelta(at(rest.at(-1)?.rev ?? contents.position.rev), rest);
        expect(stateOf(copy)).toEqual(stateOf(whole));
      }),
      { numRuns: pick(100, 3_000) },
    );
  });
});
