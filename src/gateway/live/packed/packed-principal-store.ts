import type { Account, AccountKind } from '../../../domain/account.ts';
import type { Change, Position, Revision } from '../../../domain/change.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import type { JsonValue, KeyDigest, Principal } from '../../../domain/virtual-key.ts';
import type { KeyEntry } from '../knowledge.ts';
import type { PrincipalStore, SnapshotCollector, StoreContents } from '../principal-store.ts';
import { NOT_FOUND } from './growing-index.ts';
import { PackedContents } from './packed-contents.ts';
import { type PackedSizes, PackedState } from './packed-state.ts';
import { type EntrySource, PackedKeyEntry, RecentKeys } from './recent-keys.ts';

/**
 * The complete replica in a quarter of the memory of objects, outside of JavaScript's heap, so that a garbage collection takes no
 * longer for it: fixed records, shared texts, an index that grows step by step. Keys in use are held as objects beside it. Layout, bounds and
 * invariants: docs/specs/snapshot-store.md.
 */
export class PackedPrincipalStore implements PrincipalStore, EntrySource {
  #position: Position | null = null;
  #head: string | null = null;
  #state = new PackedState();
  #accountsVersion = 0;
  readonly #recent: RecentKeys;

  constructor(recentKeysMax?: number) {
    this.#recent = new RecentKeys(recentKeysMax);
  }

  get position(): Position | null {
    return this.#position;
  }

  get head(): string | null {
    return this.#head;
  }

  get keyCount(): number {
    return this.#state.keys.count;
  }

  get fleetKey(): Buffer | null {
    return this.#state.fleetKey;
  }

  get models(): ReadonlyMap<string, StoredModel> {
    return this.#state.models;
  }

  get configRev(): Revision {
    return this.#state.configRev;
  }

  get setHash(): string {
    return this.#state.setHash.toString();
  }

  get sizes(): PackedSizes {
    return this.#state.sizes;
  }

  key(digest: KeyDigest): KeyEntry | undefined {
    return this.#recent.get(digest) ?? this.#entryFor(digest);
  }

  isDeleted(digest: KeyDigest): boolean {
    return this.#state.deleted.find(digest) !== NOT_FOUND;
  }

  account(kind: AccountKind, id: string): Account | undefined {
    return this.#state.accounts.get(kind, id);
  }

  get accountCount(): number {
    return this.#state.accounts.count;
  }

  get accountsWithoutRoom(): number {
    return this.#state.accounts.withoutRoomCount;
  }

  get accountsVersion(): number {
    return this.#accountsVersion;
  }

  setting(id: string): JsonValue | undefined {
    return this.#state.settings.get(id);
  }

  beginSnapshot(): SnapshotCollector {
    let state = new PackedState();
    let configRev: Revision | null = null;
    return {
      addKeys(list) {
        for (const { principal, spendNano } of list) state.setSpendAt(state.put(principal), BigInt(spendNano));
      },
      addDeletedKeys(tokens) {
        for (const token of tokens) state.addDeleted(token);
      },
      addSettings(values) {
        for (const [id, value] of Object.entries(values)) state.setSetting(id, value);
      },
      addModels(list) {
        for (const model of list) state.models.set(model.id, model);
      },
      addAccounts(list) {
        for (const account of list) state.accounts.put(account);
      },
      addContents(contents) {
        configRev = contents.configRev;
        state = contents instanceof PackedContents ? new PackedState(contents.tables) : stateOf(contents);
      },
      commit: (position, head = null) => {
        state.configRev = configRev ?? position.rev;
        this.#recent.clear();
        this.#state = state;
        this.#accountsVersion += 1;
        this.#position = position;
        this.#head = head;
      },
    };
  }

  applyDelta(to: Position, changes: readonly Change[], head: string | null = null): void {
    for (const change of changes) {
      if (change.kind === 'key') this.#applyKey(change.id as KeyDigest, change.value);
      else if (change.kind === 'model' || change.kind === 'setting') this.#state.applyGuarded(change);
      else {
        this.#state.accounts.apply(change);
        this.#accountsVersion += 1;
      }
    }
    this.#position = to;
    this.#head = head;
  }

  deny(names: readonly string[]): void {
    if (this.#state.accounts.deny(names)) this.#accountsVersion += 1;
    for (const token of names as readonly KeyDigest[]) {
      const slot = this.#state.keys.find(token);
      if (slot !== NOT_FOUND && this.#state.blockAt(slot, token)) this.#refresh(slot, token);
    }
  }

  contents(): StoreContents {
    if (this.#position === null) throw new Error('a store without a position has no contents');
    return new PackedContents(this.#position, this.#head, this.#state.freeze());
  }

  spendAt(slot: number): bigint {
    return this.#state.spendAt(slot);
  }

  setSpendAt(slot: number, spendNano: bigint): void {
    this.#state.setSpendAt(slot, spendNano);
  }

  entryInUse(entry: PackedKeyEntry): PackedKeyEntry | null {
    const recent = this.#recent.get(entry.token);
    if (recent !== undefined) return recent;
    const slot = this.#state.keys.find(entry.token);
    if (slot === NOT_FOUND) return null;
    entry.hold(slot, this.#state.principalAt(slot, entry.token));
    this.#recent.add(entry);
    return entry;
  }

  #entryFor(digest: KeyDigest): KeyEntry | undefined {
    const slot = this.#state.keys.find(digest);
    if (slot === NOT_FOUND) return undefined;
    const principal = this.#state.principalAt(slot, digest);
    const entry = new PackedKeyEntry(this, principal);
    entry.hold(slot, principal);
    this.#recent.add(entry);
    return entry;
  }

  #applyKey(token: KeyDigest, value: Principal | null): void {
    if (value !== null) {
      this.#state.removeDeleted(token);
      this.#refresh(this.#state.put(value), token);
      return;
    }
    this.#state.addDeleted(token);
    const slot = this.#state.keys.find(token);
    if (slot === NOT_FOUND) return;
    // First, while its record still says what it spent.
    const entry = this.#recent.get(token);
    if (entry !== undefined) this.#recent.delete(entry);
    if (this.#state.removeAt(slot, token) === NOT_FOUND) return;
    const moved = this.#recent.get(this.#state.keys.digestAt(slot));
    if (moved !== undefined) moved.slot = slot;
  }

  /** The entry of the key, if it has one, says what its record says. */
  #refresh(slot: number, token: KeyDigest): void {
    const entry = this.#recent.get(token);
    if (entry !== undefined) entry.hold(slot, this.#state.principalAt(slot, token));
  }
}

/** The same contents in tables of their own, without the gaps that changes have left. */
export function packedContentsOf(contents: StoreContents): PackedContents {
  return new PackedContents(contents.position, contents.head, stateOf(contents).freeze());
}

function stateOf(contents: StoreContents): PackedState {
  const state = new PackedState();
  for (const { principal, spendNano } of contents.keys()) state.setSpendAt(state.put(principal), spendNano);
  for (const token of contents.deletedTokens()) state.addDeleted(token);
  for (const [id, value] of Object.entries(contents.settings)) state.setSetting(id, value);
  for (const model of contents.models) state.models.set(model.id, model);
  for (const account of contents.accounts) state.accounts.put(account);
  state.configRev = contents.configRev;
  return state;
}
