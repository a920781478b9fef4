import { describe, expect, it } from 'vitest';
import { accountOf, termsOf } from '../../../tests/support/accounts.ts';
import { principalOf } from '../../../tests/support/principals.ts';
import { type Account, type AccountKind, accountKey, memberId } from '../../domain/account.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { NO_LIMITS } from '../../domain/limit.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import { AccountMap } from '../live/account-map.ts';
import { SetHash } from '../live/principal-store.ts';
import { accountsOfCall } from './accounts-of-call.ts';
import { scopeOf } from './key-scope.ts';

class Accounts {
  readonly #accounts = new Map<string, Account>();
  accountsVersion = 0;
  readonly configuration: Configuration;
  looked = 0;

  constructor(defaultCustomerBudgetId: string | null, ...accounts: Account[]) {
    this.configuration = { general: { defaultCustomerBudgetId } } as Configuration;
    for (const account of accounts) this.put(account);
  }

  put(account: Account): void {
    this.#accounts.set(accountKey(account.kind, account.id), account);
    this.accountsVersion += 1;
  }

  readonly account = (kind: AccountKind, id: string): Account | undefined => {
    this.looked += 1;
    return this.#accounts.get(accountKey(kind, id));
  };
}

const limits = (rpm: number) => ({ ...NO_LIMITS, rpm });

function who(known: Accounts, key: Partial<Principal>, customer: string | null = null, tags: readonly string[] = []) {
  const scope = scopeOf(known, principalOf('a', key));
  return accountsOfCall(known, scope, customer, tags).accounts;
}

const ALL = [
  accountOf('user', 'u'),
  accountOf('team', 't', { organizationId: 'of-team' }),
  accountOf('team_member', memberId('t', 'u')),
  accountOf('organization', 'o'),
  accountOf('organization', 'of-team'),
  accountOf('customer', 'c'),
  accountOf('tag', 'x'),
  accountOf('tag', 'y'),
];

describe('the accounts of a call', () => {
  const names = (accounts: readonly Account[]) => accounts.map(({ kind, id }) => accountKey(kind, id));

  it('are team, organizations, tags, member, customer, in this order', () => {
    const known = new Accounts(null, ...ALL);
    const key = { teamId: 't', userId: 'u', organizationId: 'o' };
    expect(names(who(known, key, 'c', ['y', 'not known', 'x']))).toEqual([
      'team:t',
      'organization:o',
      'organization:of-team',
      'tag:y',
      'tag:x',
      `team_member:${memberId('t', 'u')}`,
      'customer:c',
    ]);
  });

  it('have the user for keys without a team only', () => {
    const known = new Accounts(null, ...ALL);
    expect(names(who(known, { userId: 'u' }))).toEqual(['user:u']);
    expect(names(who(known, { userId: 'u', teamId: 'gone' }))).toEqual([]);
  });

  it('name an organization once when key and team agree', () => {
    const known = new Accounts(null, ...ALL);
    expect(names(who(known, { teamId: 't', organizationId: 'of-team' }))).toEqual(['team:t', 'organization:of-team']);
  });

  it('are looked up once per key, and anew after any account has changed', () => {
    const known = new Accounts(null, ...ALL);
    const principal = principalOf('a', { teamId: 't' });
    const first = scopeOf(known, principal);
    const { looked } = known;
    expect(scopeOf(known, principal)).toBe(first);
    expect(known.looked).toBe(looked);
    known.put(accountOf('team', 't', { blocked: true }));
    expect(first.groupRefusal).toBeNull();
    expect(scopeOf(known, principal).groupRefusal?.()).toMatchObject({ code: 'blocked_team' });
  });

  it('of a key that has nothing to do with any are the same objects for ever', () => {
    const known = new Accounts(null, ...ALL);
    const principal = principalOf('a');
    const scope = scopeOf(known, principal);
    known.put(accountOf('team', 'other'));
    expect(scopeOf(known, principal)).toBe(scope);
    expect(accountsOfCall(known, scope, null, [])).toBe(accountsOfCall(known, scope, 'not known', ['not known']));
  });
});

describe('a budget object', () => {
  const object = accountOf('budget', 'b', {
    limits: { ...limits(7), tpm: 70, modelRpm: { m: 1, n: 2 } },
    budgets: [termsOf(10), termsOf(2, { slot: 'model:m', models: ['m'] })],
  });

  it('fills in what an account has none of, and keeps where it comes from', () => {
    const own = accountOf('team', 't', {
      budgetId: 'b',
      budgets: [termsOf(1)],
      limits: { ...limits(3), modelRpm: { m: 9 } },
    });
    const [team] = who(new Accounts(null, own, object), { teamId: 't' });
    expect(team?.limits).toEqual({ ...limits(3), tpm: 70, modelRpm: { m: 9, n: 2 } });
    expect(team?.charges).toEqual([
      { ledger: 'team:t', template: null, terms: termsOf(1) },
      { ledger: 'team:t#model:m', template: 'budget:b#model:m', terms: object.budgets[1] },
    ]);
    expect(team?.budgets).toEqual(team?.charges.map(({ terms }) => terms));
  });

  it('does the same for a key', () => {
    const key = principalOf('k', { budgetId: 'b', rpmLimit: 5, maxBudget: 4 });
    const scope = scopeOf(new Accounts(null, object), key);
    expect(scope.limits).toMatchObject({ rpm: 5, tpm: 70 });
    expect(scope.charges.map(({ ledger, template }) => [ledger, template])).toEqual([
      [`key:${key.token}`, null],
      [`key:${key.token}#model:m`, 'budget:b#model:m'],
    ]);
  });

  it('may be the one of all customers that have no budget, known or not', () => {
    const rich = accountOf('customer', 'rich', { budgets: [termsOf(99)] });
    const known = new Accounts('b', object, rich, accountOf('customer', 'plain', { models: ['m'] }));
    const plainBudget = (id: string) => who(known, {}, id)[0]?.budgets[0]?.maxBudget;
    expect(['rich', 'plain', 'never seen'].map(plainBudget)).toEqual([99, 10, 10]);
    expect(who(known, {}, 'never seen')[0]?.charges[0]).toMatchObject({
      ledger: 'customer:never seen',
      template: 'budget:b',
    });
    expect(who(known, {})).toEqual([]);
  });

  it('that is gone fills in nothing', () => {
    const [team] = who(new Accounts(null, accountOf('team', 't', { budgetId: 'gone' })), { teamId: 't' });
    expect(team).toMatchObject({ budgets: [], charges: [], limits: NO_LIMITS });
  });
});

describe('AccountMap at its bound', () => {
  const mapOf = (max: number) => {
    const hash = new SetHash();
    return { hash, map: new AccountMap(hash, max) };
  };

  it('keeps the name of one too many, refuses its calls, and says the same of the whole', () => {
    const small = mapOf(1);
    const large = mapOf(10);
    for (const { map } of [small, large]) {
      map.put(accountOf('team', 'first'));
      map.put(accountOf('team', 'second', { models: ['m'] }));
    }
    expect([small.map.count, small.map.withoutRoomCount, large.map.withoutRoomCount]).toEqual([2, 1, 0]);
    expect(small.hash.toString()).toBe(large.hash.toString());
    const known = { account: small.map.get.bind(small.map), accountsVersion: 1 };
    const refusal = (teamId: string) => scopeOf(known, principalOf(teamId, { teamId })).groupRefusal?.() ?? null;
    expect(refusal('first')).toBeNull();
    expect(refusal('second')).toBeInstanceOf(ClavigerError);
    expect(refusal('second')).toMatchObject({ status: 503, code: 'account_without_room' });
  });

  it('has room again for the change of one when another is gone', () => {
    const { hash, map } = mapOf(1);
    map.put(accountOf('team', 'first'));
    map.put(accountOf('team', 'second', { models: ['m'] }));
    map.apply({ rev: 1, kind: 'team', id: 'first', value: null });
    map.put(accountOf('team', 'second', { models: ['n'] }));
    expect([map.get('team', 'second')?.models, map.withoutRoomCount]).toEqual([['n'], 0]);
    map.apply({ rev: 2, kind: 'team', id: 'second', value: null });
    expect([map.count, hash.toString()]).toEqual([0, new SetHash().toString()]);
  });
});
