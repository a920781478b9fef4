import { hash } from 'node:crypto';
import type { Account, AccountKind } from '../../domain/account.ts';
import { type Change, type Position, type Revision, SETTING_FLEET_KEY } from '../../domain/change.ts';
import { canonicalJson } from '../../domain/json-fields.ts';
import type { StoredModel } from '../../domain/stored-model.ts';
import type { JsonValue, KeyDigest, Principal } from '../../domain/virtual-key.ts';
import type { KeyWithSpend } from '../../feed/protocol.ts';
import { AccountMap } from './account-map.ts';
import type { KeyEntry } from './knowledge.ts';

/**
 * The complete replica of keys and settings at one position. Two of them do the same: `PackedPrincipalStore`, which gateway processes
 * hold, and `MapPrincipalStore`, which is small enough to be seen to be right and which tests compare the other one with.
 */
export interface PrincipalStore {
  /** Null until the first snapshot. */
  readonly position: Position | null;
  /** The audit head (hex) at the position; null where it is not known. */
  readonly head: string | null;
  readonly keyCount: number;
  /** The entry of a key that a request holds on to stays true whatever happens meanwhile, and what is settled on it is not lost. */
  key(digest: KeyDigest): KeyEntry | undefined;
  isDeleted(digest: KeyDigest): boolean;
  /** One look-up. Undefined: there is none, and nothing is forbidden by it. */
  account(kind: AccountKind, id: string): Account | undefined;
  readonly accountCount: number;
  /** Accounts of which only the name is kept (`ACCOUNTS_MAX`). */
  readonly accountsWithoutRoom: number;
  /** Another number after each change of an account, so that what was made of accounts is known to be old. */
  readonly accountsVersion: number;
  setting(id: string): JsonValue | undefined;
  /** 32 bytes, or null before the first snapshot. */
  readonly fleetKey: Buffer | null;
  /** Models of the database, by id. */
  readonly models: ReadonlyMap<string, StoredModel>;
  /** Revision that models or settings last changed at; of a snapshot, its own. */
  readonly configRev: Revision;
  /** XOR of a digest per key and account, hex: equal at equal positions on all gateway processes. */
  readonly setHash: string;
  /** A snapshot is collected beside the store and changes nothing until `commit`, which swaps all of it at once. */
  beginSnapshot(): SnapshotCollector;
  /** Applies the changes that lead from the present position to `to`, in this call. */
  applyDelta(to: Position, changes: readonly Change[], head?: string | null): void;
  /**
   * These are refused from now on, until a delta or a snapshot says what they are: keys by digest, accounts by `accountKey`. Unknown keys
   * are none of its business.
   */
  deny(names: readonly string[]): void;
  /** Everything as of now; later changes do not show in it. Quick: nothing that grows with the number of keys is copied. */
  contents(): StoreContents;
}

export interface SnapshotCollector {
  addKeys(keys: readonly KeyWithSpend[]): void;
  addDeletedKeys(tokens: readonly string[]): void;
  addSettings(settings: Readonly<Record<string, JsonValue>>): void;
  addModels(models: readonly StoredModel[]): void;
  addAccounts(accounts: readonly Account[]): void;
  /** All of a file, when nothing else is added. Its memory may become the store's. */
  addContents(contents: StoreContents): void;
  commit(position: Position, head?: string | null): void;
}

export interface StoreContents {
  readonly position: Position;
  readonly head: string | null;
  readonly configRev: Revision;
  readonly setHash: string;
  readonly keyCount: number;
  readonly deletedCount: number;
  readonly settings: Readonly<Record<string, JsonValue>>;
  readonly models: readonly StoredModel[];
  readonly accounts: readonly Account[];
  keys(): Iterable<{ readonly principal: Principal; readonly spendNano: bigint }>;
  deletedTokens(): Iterable<string>;
}

/** The store as JavaScript maps. */
export class MapPrincipalStore implements PrincipalStore {
  #position: Position | null = null;
  #head: string | null = null;
  #keys = new Map<string, MutableKeyEntry>();
  #deleted = new Set<string>();
  #settings = new Map<string, JsonValue>();
  #models = new Map<string, StoredModel>();
  #configRev: Revision = 0;
  #setHash = new SetHash();
  #accounts = new AccountMap(this.#setHash);
  #accountsVersion = 0;
  #fleetKey: Buffer | null = null;

  get position(): Position | null {
    return this.#position;
  }

  get head(): string | null {
    return this.#head;
  }

  get keyCount(): number {
    return this.#keys.size;
  }

  get fleetKey(): Buffer | null {
    return this.#fleetKey;
  }

  get models(): ReadonlyMap<string, StoredModel> {
    return this.#models;
  }

  get configRev(): Revision {
    return this.#configRev;
  }

  get setHash(): string {
    return this.#setHash.toString();
  }

  key(digest: KeyDigest): KeyEntry | undefined {
    return this.#keys.get(digest);
  }

  isDeleted(digest: KeyDigest): boolean {
    return this.#deleted.has(digest);
  }

  account(kind: AccountKind, id: string): Account | undefined {
    return this.#accounts.get(kind, id);
  }

  get accountCount(): number {
    return this.#accounts.count;
  }

  get accountsWithoutRoom(): number {
    return this.#accounts.withoutRoomCount;
  }

  get accountsVersion(): number {
    return this.#accountsVersion;
  }

  setting(id: string): JsonValue | undefined {
    return this.#settings.get(id);
  }

  beginSnapshot(): SnapshotCollector {
    const keys = new Map<string, MutableKeyEntry>();
    const deleted = new Set<string>();
    const settings = new Map<string, JsonValue>();
    const models = new Map<string, StoredModel>();
    const setHash = new SetHash();
    const accounts = new AccountMap(setHash);
    let configRev: Revision | null = null;
    const add = (principal: Principal, spendNano: bigint): void => {
      const former = keys.get(principal.token);
      if (former !== undefined) setHash.toggle(former.principal);
      setHash.toggle(principal);
      keys.set(principal.token, { principal, spendNano, series: null });
    };
    return {
      addKeys(list) {
        for (const { principal, spendNano } of list) add(principal, BigInt(spendNano));
      },
      addDeletedKeys(tokens) {
        for (const token of tokens) deleted.add(token);
      },
      addSettings(values) {
        for (const [id, value] of Object.entries(values)) if (value !== null) settings.set(id, value);
      },
      addModels(list) {
        for (const model of list) models.set(model.id, model);
      },
      addAccounts(list) {
        for (const account of list) accounts.put(account);
      },
      addContents(contents) {
        for (const { principal, spendNano } of contents.keys()) add(principal, spendNano);
        this.addDeletedKeys([...contents.deletedTokens()]);
        this.addSettings(contents.settings);
        this.addModels(contents.models);
        this.addAccounts(contents.accounts);
        configRev = contents.configRev;
      },
      commit: (position, head = null) => {
        this.#models = models;
        this.#configRev = configRev ?? position.rev;
        this.#setHash = setHash;
        this.#accounts = accounts;
        this.#accountsVersion += 1;
        this.#keys = keys;
        this.#deleted = deleted;
        this.#settings = settings;
        this.#fleetKey = decodeFleetKey(settings.get(SETTING_FLEET_KEY));
        this.#position = position;
        this.#head = head;
      },
    };
  }

  applyDelta(to: Position, changes: readonly Change[], head: string | null = null): void {
    for (const change of changes) {
      if (change.kind === 'key') this.#applyKey(change.id, change.value);
      else if (change.kind === 'model' || change.kind === 'setting') {
        if (change.kind === 'setting') this.#applySetting(change.id, change.value);
        else if (change.value === null) this.#models.delete(change.id);
        else this.#models.set(change.id, change.value);
        this.#configRev = change.rev;
      } else {
        this.#accounts.apply(change);
        this.#accountsVersion += 1;
      }
    }
    this.#position = to;
    this.#head = head;
  }

  deny(names: readonly string[]): void {
    if (this.#accounts.deny(names)) this.#accountsVersion += 1;
    for (const token of names) {
      const entry = this.#keys.get(token);
      if (entry === undefined || entry.principal.blocked) continue;
      this.#setHash.toggle(entry.principal);
      entry.principal = { ...entry.principal, blocked: true };
      this.#setHash.toggle(entry.principal);
    }
  }

  contents(): StoreContents {
    if (this.#position === null) throw new Error('a store without a position has no contents');
    const keys = Array.from(this.#keys.values(), ({ principal, spendNano }) => ({ principal, spendNano }));
    const deleted = [...this.#deleted];
    return {
      position: this.#position,
      head: this.#head,
      configRev: this.#configRev,
      setHash: this.setHash,
      keyCount: keys.length,
      deletedCount: deleted.length,
      settings: Object.fromEntries(this.#settings),
      models: [...this.#models.values()],
      accounts: this.#accounts.all(),
      keys: () => keys,
      deletedTokens: () => deleted,
    };
  }

  #applyKey(token: string, value: Principal | null): void {
    const known = this.#keys.get(token);
    if (known !== undefined) this.#setHash.toggle(known.principal);
    if (value !== null) this.#setHash.toggle(value);
    if (value === null) {
      this.#keys.delete(token);
      this.#deleted.add(token);
      return;
    }
    this.#deleted.delete(token);
    // The entry stays the same object: requests in flight settle on it, and metrics keep their series there.
    if (known === undefined) this.#keys.set(token, { principal: value, spendNano: 0n, series: null });
    else known.principal = value;
  }

  #applySetting(id: string, value: JsonValue): void {
    if (value === null) this.#settings.delete(id);
    else this.#settings.set(id, value);
    if (id === SETTING_FLEET_KEY) this.#fleetKey = decodeFleetKey(value);
  }
}

type MutableKeyEntry = { -readonly [Field in keyof KeyEntry]: KeyEntry[Field] };

/** Order-free digest of a set of principals and accounts: each goes in and out by the same operation. */
export class SetHash {
  readonly #sum: Buffer;

  /** `hex`: to go on from. */
  constructor(hex = '0'.repeat(64)) {
    this.#sum = Buffer.from(hex, 'hex');
  }

  toggle(principal: Principal): void {
    this.toggleDigest(hash('sha256', principalText(principal), 'buffer'));
  }

  /** Of 32 bytes. */
  toggleDigest(digest: Buffer): void {
    for (let index = 0; index < 32; index += 1) this.#sum[index]! ^= digest[index]!;
  }

  toString(): string {
    return this.#sum.toString('hex');
  }
}

/** The same for equal principals, in whatever order their fields came; fields of a later version stand behind the others. */
function principalText(principal: Principal): string {
  const { limits, budgets, budgetId, ...others } = principal;
  const text = JSON.stringify({ ...IN_ORDER, ...others });
  if (limits === undefined && budgets === undefined && budgetId === undefined) return text;
  return text + canonicalJson(JSON.parse(JSON.stringify({ limits, budgets, budgetId })) as JsonValue);
}

const IN_ORDER: Principal = {
  token: '' as KeyDigest,
  keyName: '',
  keyAlias: null,
  expiresAtMs: null,
  blocked: false,
  models: [],
  aliases: {},
  allowedRoutes: [],
  userId: null,
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
};

const FLEET_KEY_BYTES = 32;

/** A fleet key of another length is treated as none: the check in generated keys is then left out, and nothing else changes. */
export function decodeFleetKey(value: JsonValue | undefined): Buffer | null {
  if (typeof value !== 'string') return null;
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === FLEET_KEY_BYTES ? bytes : null;
}
