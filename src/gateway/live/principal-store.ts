import { hash } from 'node:crypto';
import { type Change, type Position, type Revision, SETTING_FLEET_KEY } from '../../domain/change.ts';
import type { StoredModel } from '../../domain/stored-model.ts';
import type { JsonValue, KeyDigest, Principal } from '../../domain/virtual-key.ts';
import type { KeyWithSpend } from '../../feed/protocol.ts';
import type { KeyEntry } from './knowledge.ts';

/**
 * The complete replica of keys and settings at one position. Small on purpose: a packed store, which needs a quarter of the
 * memory per key, can stand in for this one without anybody noticing.
 */
export interface PrincipalStore {
  /** Null until the first snapshot. */
  readonly position: Position | null;
  readonly keyCount: number;
  key(digest: KeyDigest): KeyEntry | undefined;
  isDeleted(digest: KeyDigest): boolean;
  setting(id: string): JsonValue | undefined;
  /** 32 bytes, or null before the first snapshot. */
  readonly fleetKey: Buffer | null;
  /** Models of the database, by id. */
  readonly models: ReadonlyMap<string, StoredModel>;
  /** Revision that models or settings last changed at; of a snapshot, its own. */
  readonly configRev: Revision;
  /** XOR of a digest per key, hex: equal at equal positions on all gateway processes. */
  readonly setHash: string;
  /** A snapshot is collected beside the store and changes nothing until `commit`, which swaps all of it at once. */
  beginSnapshot(): SnapshotCollector;
  /** Applies the changes that lead from the present position to `to`, in this call. */
  applyDelta(to: Position, changes: readonly Change[]): void;
  /** These keys are refused from now on, until a delta or a snapshot says what they are. Unknown ones are none of its business. */
  deny(tokens: readonly string[]): void;
  /** Everything as of now; later changes do not show in it. References only, so it is quick. */
  contents(): StoreContents;
}

export interface SnapshotCollector {
  addKeys(keys: readonly KeyWithSpend[]): void;
  addDeletedKeys(tokens: readonly string[]): void;
  addSettings(settings: Readonly<Record<string, JsonValue>>): void;
  addModels(models: readonly StoredModel[]): void;
  commit(position: Position): void;
}

export interface StoreContents {
  readonly position: Position;
  readonly principals: readonly Principal[];
  /** Parallel to `principals`. */
  readonly spendNano: readonly bigint[];
  readonly deletedTokens: readonly string[];
  readonly settings: Readonly<Record<string, JsonValue>>;
  readonly models: readonly StoredModel[];
}

/** The store as JavaScript maps. */
export class MapPrincipalStore implements PrincipalStore {
  #position: Position | null = null;
  #keys = new Map<string, MutableKeyEntry>();
  #deleted = new Set<string>();
  #settings = new Map<string, JsonValue>();
  #models = new Map<string, StoredModel>();
  #configRev: Revision = 0;
  #setHash = new SetHash();
  #fleetKey: Buffer | null = null;

  get position(): Position | null {
    return this.#position;
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

  setting(id: string): JsonValue | undefined {
    return this.#settings.get(id);
  }

  beginSnapshot(): SnapshotCollector {
    const keys = new Map<string, MutableKeyEntry>();
    const deleted = new Set<string>();
    const settings = new Map<string, JsonValue>();
    const models = new Map<string, StoredModel>();
    const setHash = new SetHash();
    return {
      addKeys(list) {
        for (const { principal, spendNano } of list) {
          setHash.toggle(principal);
          keys.set(principal.token, { principal, spendNano: BigInt(spendNano), series: null });
        }
      },
      addDeletedKeys(tokens) {
        for (const token of tokens) deleted.add(token);
      },
      addSettings(values) {
        for (const [id, value] of Object.entries(values)) settings.set(id, value);
      },
      addModels(list) {
        for (const model of list) models.set(model.id, model);
      },
      commit: (position) => {
        this.#models = models;
        this.#configRev = position.rev;
        this.#setHash = setHash;
        this.#keys = keys;
        this.#deleted = deleted;
        this.#settings = settings;
        this.#fleetKey = decodeFleetKey(settings.get(SETTING_FLEET_KEY));
        this.#position = position;
      },
    };
  }

  applyDelta(to: Position, changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'key') this.#applyKey(change.id, change.value);
      else {
        if (change.kind === 'setting') this.#applySetting(change.id, change.value);
        else if (change.value === null) this.#models.delete(change.id);
        else this.#models.set(change.id, change.value);
        this.#configRev = change.rev;
      }
    }
    this.#position = to;
  }

  deny(tokens: readonly string[]): void {
    for (const token of tokens) {
      const entry = this.#keys.get(token);
      if (entry === undefined || entry.principal.blocked) continue;
      this.#setHash.toggle(entry.principal);
      entry.principal = { ...entry.principal, blocked: true };
      this.#setHash.toggle(entry.principal);
    }
  }

  contents(): StoreContents {
    if (this.#position === null) throw new Error('a store without a position has no contents');
    const principals: Principal[] = [];
    const spendNano: bigint[] = [];
    for (const entry of this.#keys.values()) {
      principals.push(entry.principal);
      spendNano.push(entry.spendNano);
    }
    return {
      position: this.#position,
      principals,
      spendNano,
      deletedTokens: [...this.#deleted],
      settings: Object.fromEntries(this.#settings),
      models: [...this.#models.values()],
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

/** Order-free digest of a set of principals: each goes in and out by the same operation. */
export class SetHash {
  readonly #sum = Buffer.alloc(32);

  toggle(principal: Principal): void {
    const digest = hash('sha256', JSON.stringify(principal), 'buffer');
    for (let index = 0; index < 32; index += 1) this.#sum[index]! ^= digest[index]!;
  }

  toString(): string {
    return this.#sum.toString('hex');
  }
}

const FLEET_KEY_BYTES = 32;

/** A fleet key of another length is treated as none: the check in generated keys is then left out, and nothing else changes. */
function decodeFleetKey(value: JsonValue | undefined): Buffer | null {
  if (typeof value !== 'string') return null;
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === FLEET_KEY_BYTES ? bytes : null;
}
