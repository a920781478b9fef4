import { hash } from 'node:crypto';
import { type Account, type AccountKind, accountKey, parseAccountKey } from '../../domain/account.ts';
import type { AccountChange } from '../../domain/change.ts';
import { canonicalJson } from '../../domain/json-fields.ts';
import { NO_LIMITS } from '../../domain/limit.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { SetHash } from './principal-store.ts';

/**
 * Accounts held whole, at about 1 KB each. Of one that comes at the bound only its name and its digest are kept, and calls for it are refused
 * with 503 `account_without_room` until there is a snapshot with room for it: what it forbids is not known, and nothing may be allowed by that.
 */
export const ACCOUNTS_MAX = 500_000;

/** Users, teams and all others of the accounts, by `accountKey`. Changes of it are changes of the set hash. */
export class AccountMap {
  readonly #held = new Map<string, Account>();
  readonly #setHash: SetHash;
  readonly #max: number;
  #withoutRoom = 0;

  constructor(setHash: SetHash, max: number = ACCOUNTS_MAX) {
    this.#setHash = setHash;
    this.#max = max;
  }

  get count(): number {
    return this.#held.size;
  }

  /** Those of which only the name is kept. */
  get withoutRoomCount(): number {
    return this.#withoutRoom;
  }

  get(kind: AccountKind, id: string): Account | undefined {
    return this.#held.size === 0 ? undefined : this.#held.get(accountKey(kind, id));
  }

  put(account: Account): void {
    const key = accountKey(account.kind, account.id);
    const known = this.#forget(key);
    const hasRoom = (known !== undefined && !isWithoutRoom(known)) || this.#held.size < this.#max;
    const kept = hasRoom || isWithoutRoom(account) ? account : withoutRoom(account);
    if (isWithoutRoom(kept)) this.#withoutRoom += 1;
    this.#setHash.toggleDigest(digestOf(kept));
    this.#held.set(key, kept);
  }

  apply({ kind, id, value }: AccountChange): void {
    if (value === null) this.#forget(accountKey(kind, id));
    else this.put(value);
  }

  /**
   * Those of the names that are an `accountKey` are blocked from now on; also what is not known: a customer that restricts nothing is not in
   * the feed. Returns whether that is new.
   */
  deny(names: readonly string[]): boolean {
    let isNew = false;
    for (const name of names) {
      const parsed = parseAccountKey(name);
      if (parsed === null) continue;
      const known = this.#held.get(name);
      if (known?.blocked) continue;
      isNew = true;
      this.put({ ...(known ?? { ...NOTHING, ...parsed }), blocked: true });
    }
    return isNew;
  }

  /** As they are now. */
  all(): readonly Account[] {
    return [...this.#held.values()];
  }

  /** For a map whose accounts are in the set hash already. */
  adopt(accounts: readonly Account[]): void {
    for (const account of accounts) {
      if (isWithoutRoom(account)) this.#withoutRoom += 1;
      this.#held.set(accountKey(account.kind, account.id), account);
    }
  }

  #forget(key: string): Account | undefined {
    const known = this.#held.get(key);
    if (known === undefined) return undefined;
    if (isWithoutRoom(known)) this.#withoutRoom -= 1;
    this.#setHash.toggleDigest(digestOf(known));
    this.#held.delete(key);
    return known;
  }
}

/** Whether only the name of it is kept. */
export function isWithoutRoom(account: Account): account is NamedAccount {
  return (account as Partial<NamedAccount>).digest !== undefined;
}

interface NamedAccount extends Account {
  /** Of the whole account, hex. */
  readonly digest: string;
}

function withoutRoom(account: Account): NamedAccount {
  const { kind, id, blocked } = account;
  return { ...NOTHING, kind, id, blocked, digest: digestOf(account).toString('hex') };
}

const NOTHING: Omit<Account, 'kind' | 'id' | 'blocked'> = {
  alias: null,
  models: [],
  modelAliases: {},
  allowedRegions: [],
  organizationId: null,
  limits: NO_LIMITS,
  budgets: [],
  budgetId: null,
};

/** The same for equal accounts, in whatever order their fields came. */
function digestOf(account: Account): Buffer {
  if (isWithoutRoom(account)) return Buffer.from(account.digest, 'hex');
  return hash('sha256', canonicalJson(account as unknown as JsonValue), 'buffer');
}
