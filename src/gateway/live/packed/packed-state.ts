import { type Change, type Revision, SETTING_FLEET_KEY } from '../../../domain/change.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import type { JsonValue, KeyDigest, Principal } from '../../../domain/virtual-key.ts';
import { AccountMap } from '../account-map.ts';
import { decodeFleetKey, SetHash } from '../principal-store.ts';
import { BlobPool } from './blob-pool.ts';
import { DIGEST_BYTES, DigestTable } from './digest-table.ts';
import { NOT_FOUND } from './growing-index.ts';
import type { PackedTables } from './packed-contents.ts';
import {
  blockAt,
  isBlockedAt,
  type Pools,
  PRINCIPAL_RECORD_BYTES,
  packPrincipal,
  referencesAt,
  releaseReferences,
  setSpendAt,
  spendAt,
  unpackPrincipal,
} from './principal-record.ts';
import { RecordList } from './record-list.ts';
import { TEXT_RECORD_BYTES, TextTable } from './text-table.ts';

/** Everything that a store knows at one position: keys and deleted keys packed; accounts, models and the few settings as objects. */
export class PackedState {
  readonly keys: DigestTable;
  readonly deleted: DigestTable;
  readonly settings: Map<string, JsonValue>;
  readonly models: Map<string, StoredModel>;
  readonly accounts: AccountMap;
  readonly setHash: SetHash;
  configRev: Revision;
  fleetKey: Buffer | null;
  readonly #pools: Pools;
  readonly #textBytes: BlobPool;
  /** Spend of more than nine billion dollars, by the number of the key. */
  readonly #wideSpend: Map<number, bigint>;

  constructor(tables: PackedTables = emptyTables()) {
    this.keys = new DigestTable(tables.keys);
    this.deleted = new DigestTable(tables.deleted);
    this.#textBytes = tables.textBytes;
    const texts = new TextTable(tables.texts, tables.textBytes, tables.firstFreeText);
    this.#pools = { names: tables.names, texts, cold: tables.cold };
    this.settings = new Map(Object.entries(tables.settings));
    this.models = new Map(tables.models.map((model) => [model.id, model]));
    this.#wideSpend = new Map(tables.wideSpend);
    this.setHash = new SetHash(tables.setHash);
    this.accounts = new AccountMap(this.setHash);
    this.accounts.adopt(tables.accounts);
    this.configRev = tables.configRev;
    this.fleetKey = decodeFleetKey(this.settings.get(SETTING_FLEET_KEY));
  }

  /** Memory outside of JavaScript's heap. */
  get sizes(): PackedSizes {
    const { names, texts, cold } = this.#pools;
    return {
      keyBytes: this.keys.bytes,
      textBytes: names.bytes + texts.bytes + this.#textBytes.bytes,
      coldBytes: cold.bytes,
      deletedBytes: this.deleted.bytes,
      freeBytes: names.freeBytes + this.#textBytes.freeBytes + cold.freeBytes,
    };
  }

  principalAt(slot: number, token: KeyDigest): Principal {
    return unpackPrincipal(this.keys.records, slot, token, this.#pools);
  }

  spendAt(slot: number): bigint {
    return spendAt(this.keys.records, slot) ?? this.#wideSpend.get(slot)!;
  }

  setSpendAt(slot: number, spendNano: bigint): void {
    if (setSpendAt(this.keys.records, slot, spendNano)) this.#wideSpend.delete(slot);
    else this.#wideSpend.set(slot, spendNano);
  }

  /** Adds a key or replaces what is known of it, spend excepted; returns its number. */
  put(principal: Principal): number {
    const { records } = this.keys;
    let slot = this.keys.find(principal.token);
    if (slot === NOT_FOUND) {
      slot = this.keys.insert(principal.token);
      packPrincipal(records, slot, principal, this.#pools);
    } else {
      this.setHash.toggle(this.principalAt(slot, principal.token));
      const former = referencesAt(records, slot);
      packPrincipal(records, slot, principal, this.#pools);
      // Behind it: a text that stays in use is not forgotten and made anew.
      releaseReferences(former, this.#pools);
    }
    this.setHash.toggle(principal);
    return slot;
  }

  /** Returns the number that another key had, which has `slot` from now on; or `NOT_FOUND`. */
  removeAt(slot: number, token: KeyDigest): number {
    this.setHash.toggle(this.principalAt(slot, token));
    releaseReferences(referencesAt(this.keys.records, slot), this.#pools);
    this.#wideSpend.delete(slot);
    const moved = this.keys.remove(slot);
    const spend = moved === NOT_FOUND ? undefined : this.#wideSpend.get(moved);
    if (spend !== undefined) {
      this.#wideSpend.delete(moved);
      this.#wideSpend.set(slot, spend);
    }
    return moved;
  }

  addDeleted(token: string): void {
    if (this.deleted.find(token) === NOT_FOUND) this.deleted.insert(token);
  }

  removeDeleted(token: string): void {
    const slot = this.deleted.find(token);
    if (slot !== NOT_FOUND) this.deleted.remove(slot);
  }

  /** Returns whether the key was not blocked before. */
  blockAt(slot: number, token: KeyDigest): boolean {
    if (isBlockedAt(this.keys.records, slot)) return false;
    this.setHash.toggle(this.principalAt(slot, token));
    blockAt(this.keys.records, slot);
    this.setHash.toggle(this.principalAt(slot, token));
    return true;
  }

  applyGuarded(change: Extract<Change, { kind: 'model' | 'setting' }>): void {
    const { id, kind, value, rev } = change;
    if (kind === 'model') {
      if (value === null) this.models.delete(id);
      else this.models.set(id, value);
    } else this.setSetting(id, value);
    this.configRev = rev;
  }

  /** Null: there is no such setting any more. */
  setSetting(id: string, value: JsonValue): void {
    if (value === null) this.settings.delete(id);
    else this.settings.set(id, value);
    if (id === SETTING_FLEET_KEY) this.fleetKey = decodeFleetKey(value);
  }

  /** All of it as it is now, whatever happens to this state afterwards. */
  freeze(): PackedTables {
    const { names, texts, cold } = this.#pools;
    return {
      keys: this.keys.records.freeze(),
      deleted: this.deleted.records.freeze(),
      texts: texts.records.freeze(),
      firstFreeText: texts.firstFree,
      names: names.freeze(),
      textBytes: this.#textBytes.freeze(),
      cold: cold.freeze(),
      settings: Object.fromEntries(this.settings),
      models: [...this.models.values()],
      accounts: this.accounts.all(),
      wideSpend: [...this.#wideSpend],
      setHash: this.setHash.toString(),
      configRev: this.configRev,
    };
  }
}

export interface PackedSizes {
  /** Records of the keys, and their index. */
  readonly keyBytes: number;
  /** Aliases, users, teams, models and what else records refer to, with its index. */
  readonly textBytes: number;
  readonly coldBytes: number;
  readonly deletedBytes: number;
  /** Part of the pools that waits for texts of the same size. */
  readonly freeBytes: number;
}

function emptyTables(): PackedTables {
  return {
    keys: new RecordList(PRINCIPAL_RECORD_BYTES),
    deleted: new RecordList(DIGEST_BYTES),
    texts: new RecordList(TEXT_RECORD_BYTES),
    firstFreeText: 0,
    names: new BlobPool(),
    textBytes: new BlobPool(),
    cold: new BlobPool(),
    settings: {},
    models: [],
    accounts: [],
    wideSpend: [],
    setHash: new SetHash().toString(),
    configRev: 0,
  };
}
