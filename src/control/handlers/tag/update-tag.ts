import { updateTagRoute } from '../../../contract/routes/tags.ts';
import { tags } from '../../../storage/repositories/tags.ts';
import { applyObjectFields } from '../../accounts/apply-object-fields.ts';
import { budgetIdFrom } from '../../accounts/budget-objects.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { budgetsOf, presentTag } from '../../accounts/present-objects.ts';
import { TAG_PLAN, tagNotFound } from '../../accounts/tag-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const updateTagEndpoint = endpoint(updateTagRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const [stored] = await tags.lock(write.tx, [body.name]);
    if (stored === undefined) throw tagNotFound(body.name);
    const budget_id = await budgetIdFrom(write, body, stored.object.budget_id, moment);
    const next = applyObjectFields(stored.object, body, TAG_PLAN, moment);
    const replaced = await replaceObject(write, 'tag', stored, budget_id === undefined ? next : { ...next, budget_id });
    return presentTag(replaced, await budgetsOf(write.tx, [replaced]));
  });
  return { json: { message: `Tag ${body.name} updated successfully`, tag: value }, rev };
});
