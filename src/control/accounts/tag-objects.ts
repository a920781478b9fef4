import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { Tag } from '../../domain/tag.ts';
import type { FieldPlan } from './apply-object-fields.ts';

export const TAG_PLAN: FieldPlan<Tag> = {
  plain: ['description', 'model_info'],
  lists: ['models'],
  objects: [],
  flags: [],
  inMetadata: [],
  hasPeriod: false,
};

export function tagNotFound(name: string): ClavigerError {
  return new ClavigerError('object_not_found', { what: `Tag ${name}` }, { param: 'name' });
}
