import { newTagRoute } from '../../../contract/routes/tags.ts';
import type { Tag } from '../../../domain/tag.ts';
import { applyObjectFields, created } from '../../accounts/apply-object-fields.ts';
import { budgetIdFrom } from '../../accounts/budget-objects.ts';
import { createObject } from '../../accounts/change-object.ts';
import { budgetsOf, presentTag } from '../../accounts/present-objects.ts';
import { TAG_PLAN } from '../../accounts/tag-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const newTagEndpoint = endpoint(newTagRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const empty: Tag = {
      name: body.name,
      description: null,
      models: [],
      model_info: null,
      budget_id: null,
      metadata: {},
      ...created(moment),
    };
    const budget_id = (await budgetIdFrom(write, body, null, moment)) ?? null;
    const tag = { ...applyObjectFields(empty, body, TAG_PLAN, moment), budget_id };
    const stored = await createObject(write, 'tag', tag);
    return presentTag(stored, await budgetsOf(write.tx, [stored]));
  });
  return { json: { message: `Tag ${body.name} created successfully`, tag: value }, rev };
});
