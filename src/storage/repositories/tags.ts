import type { Tag } from '../../domain/tag.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredTag = StoredObject<Tag>;

/** Unique violation: `tag_name_key`. */
export const tags = objectTable<Tag>({
  table: 'tag',
  spendKind: 'tag',
  idColumn: 'name',
  idOf: (tag) => tag.name,
  columns: {
    name: 'text',
    description: 'text',
    models: 'texts',
    model_info: 'json',
    budget_id: 'text',
    metadata: 'json',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});
