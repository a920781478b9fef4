import type { Account } from '../../../domain/account.ts';
import type { Position, Revision } from '../../../domain/change.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import type { JsonValue, Principal } from '../../../domain/virtual-key.ts';
import type { StoreContents } from '../principal-store.ts';
import type { BlobPool } from './blob-pool.ts';
import { digestIn } from './digest-table.ts';
import { type Pools, spendAt, unpackPrincipal } from './principal-record.ts';
import type { RecordList } from './record-list.ts';
import { TextTable } from './text-table.ts';

/** What a packed state is made of, and what a file of it holds. Whoever gets it may keep and change its memory. */
export interface PackedTables {
  readonly keys: RecordList;
  readonly deleted: RecordList;
  readonly texts: RecordList;
  readonly firstFreeText: number;
  readonly names: BlobPool;
  readonly textBytes: BlobPool;
  readonly cold: BlobPool;
  readonly settings: Readonly<Record<string, JsonValue>>;
  readonly models: readonly StoredModel[];
  readonly accounts: readonly Account[];
  readonly wideSpend: readonly (readonly [slot: number, spendNano: bigint])[];
  readonly setHash: string;
  readonly configRev: Revision;
}

/** The contents of a packed store, or of its file. */
export class PackedContents implements StoreContents {
  readonly position: Position;
  readonly head: string | null;
  readonly tables: PackedTables;

  constructor(position: Position, head: string | null, tables: PackedTables) {
    this.position = position;
    this.head = head;
    this.tables = tables;
  }

  get configRev(): Revision {
    return this.tables.configRev;
  }

  get setHash(): string {
    return this.tables.setHash;
  }

  get keyCount(): number {
    return this.tables.keys.count;
  }

  get deletedCount(): number {
    return this.tables.deleted.count;
  }

  get settings(): Readonly<Record<string, JsonValue>> {
    return this.tables.settings;
  }

  get models(): readonly StoredModel[] {
    return this.tables.models;
  }

  get accounts(): readonly Account[] {
    return this.tables.accounts;
  }

  *keys(): Generator<{ principal: Principal; spendNano: bigint }> {
    const { keys, texts, textBytes, firstFreeText, names, cold, wideSpend } = this.tables;
    const pools: Pools = { names, texts: new TextTable(texts, textBytes, firstFreeText), cold };
    const wide = new Map(wideSpend);
    for (let slot = 0; slot < keys.count; slot += 1) {
      const principal = unpackPrincipal(keys, slot, digestIn(keys, slot), pools);
      yield { principal, spendNano: spendAt(keys, slot) ?? wide.get(slot)! };
    }
  }

  *deletedTokens(): Generator<string> {
    const { deleted } = this.tables;
    for (let slot = 0; slot < deleted.count; slot += 1) yield digestIn(deleted, slot);
  }
}
