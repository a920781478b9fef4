import { type Selectable, sql } from 'kysely';
import type { ModelRecord } from '../../domain/stored-model.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';
import type { ModelTable } from '../tables.ts';

/** A stored model: the object and its own revision. */
export interface StoredModelRow {
  readonly model: ModelRecord;
  readonly objectRev: number;
}

/**
 * From here to the end of the transaction nobody else writes models, so that what was validated as a whole is what is committed. Reading
 * goes on.
 */
export async function lockModels(tx: Tx): Promise<void> {
  await sql`lock table claviger.model in share row exclusive mode`.execute(tx);
}

/** In order of the id, so that two readers see the same list. */
export async function allModels(tx: Tx): Promise<StoredModelRow[]> {
  const rows = await tx.selectFrom('claviger.model').selectAll().orderBy('model_id').execute();
  return rows.map(stored);
}

export async function findModel(tx: Tx, id: string): Promise<StoredModelRow | null> {
  const row = await tx.selectFrom('claviger.model').selectAll().where('model_id', '=', id).executeTakeFirst();
  return row === undefined ? null : stored(row);
}

/** Throws a unique violation of `model_model_id_key`. `objectRev` is 1 for a model that never was. */
export async function insertModel(tx: Tx, model: ModelRecord, objectRev: number): Promise<void> {
  await tx.insertInto('claviger.model').values(columnsOf(model, objectRev)).execute();
}

/** Replaces the row of a model that was read under `lockModels`. */
export async function updateModel(tx: Tx, model: ModelRecord, objectRev: number): Promise<void> {
  const { model_id, ...columns } = columnsOf(model, objectRev);
  await tx.updateTable('claviger.model').set(columns).where('model_id', '=', model_id).execute();
}

export async function deleteModel(tx: Tx, id: string): Promise<void> {
  await tx.deleteFrom('claviger.model').where('model_id', '=', id).execute();
}

function columnsOf(model: ModelRecord, objectRev: number) {
  return {
    ...model,
    object_rev: objectRev,
    litellm_params: JSON.stringify(model.litellm_params),
    model_info: JSON.stringify(model.model_info),
  };
}

function stored(row: Selectable<ModelTable>): StoredModelRow {
  return {
    model: {
      model_id: row.model_id,
      model_name: row.model_name,
      litellm_params: row.litellm_params as JsonObject,
      model_info: row.model_info as JsonObject,
      created_at: row.created_at.toISOString(),
      created_by: row.created_by,
      updated_at: row.updated_at.toISOString(),
      updated_by: row.updated_by,
    },
    objectRev: Number(row.object_rev),
  };
}
