import { type Change, type Position, SETTING_FLEET_KEY } from '../../domain/change.ts';
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
  /** A snapshot is collected beside the store and changes nothing until `commit`, which swaps all of it at once. */
  beginSnapshot(): SnapshotCollector;
  /** Applies the changes that lead from the present position to `to`, in this call. */
  applyDelta(to: Position, changes: readonly Change[]): void;
  /** Everything as of now; later changes do not show in it. References only, so it is quick. */
  contents(): StoreContents;
}

export interface SnapshotCollector {
  addKeys(keys: readonly KeyWithSpend[]): void;
  addDeletedKeys(tokens: readonly string[]): void;
  addSettings(settings: Readonly<Record<string, JsonValue>>): void;
  commit(position: Position): void;
}

export interface StoreContents {
  readonly position: Position;
  readonly principals: readonly Principal[];
  /** Parallel to `principals`. */
  readonly spendNano: readonly bigint[];
  readonly deletedTokens: readonly string[];
  readonly settings: Readonly<Record<string, JsonValue>>;
}

/** The store as JavaScript maps. */
export class MapPrincipalStore implements PrincipalStore {
  #position: Position | null = null;
  #keys = new Map<string, MutableKeyEntry>();
  #deleted = new Set<string>();
  #settings = new Map<string, JsonValue>();
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
    return {
      addKeys(list) {
        for (const { principal, spendNano } of list) {
          keys.set(principal.token, { principal, spendNano: BigInt(spendNano), series: null });
        }
      },
      addDeletedKeys(tokens) {
        for (const token of tokens) deleted.add(token);
      },
      addSettings(values) {
        for (const [id, value] of Object.entries(values)) settings.set(id, value);
      },
      commit: (position) => {
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
      if (change.kind === 'setting') this.#applySetting(change.id, change.value);
      else this.#applyKey(change.id, change.value);
    }
    this.#position = to;
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
    };
  }

  #applyKey(token: string, value: Principal | null): void {
    if (value === null) {
      this.#keys.delete(token);
      this.#deleted.add(token);
      return;
    }
    this.#deleted.delete(token);
    const entry = this.#keys.get(token);
    // The entry stays the same object: requests in flight settle on it, and metrics keep their series there.
    if (entry === undefined) this.#keys.set(token, { principal: value, spendNano: 0n, series: null });
    else entry.principal = value;
  }

  #applySetting(id: string, value: JsonValue): void {
    if (value === null) this.#settings.delete(id);
    else this.#settings.set(id, value);
    if (id === SETTING_FLEET_KEY) this.#fleetKey = decodeFleetKey(value);
  }
}

type MutableKeyEntry = { -readonly [Field in keyof KeyEntry]: KeyEntry[Field] };

const FLEET_KEY_BYTES = 32;

/** A fleet key of another length is treated as none: the check in generated keys is then left out, and nothing else changes. */
function decodeFleetKey(value: JsonValue | undefined): Buffer | null {
  if (typeof value !== 'string') return null;
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === FLEET_KEY_BYTES ? bytes : null;
}
