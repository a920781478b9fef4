import { deleteTagRoute } from '../../../contract/routes/tags.ts';
import { tags } from '../../../storage/repositories/tags.ts';
import { deleteObject } from '../../accounts/change-object.ts';
import { tagNotFound } from '../../accounts/tag-objects.ts';
import { writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const deleteTagEndpoint = endpoint(deleteTagRoute, async ({ body, origin }, context) => {
  const { rev } = await writeObjects(context, origin, async (write) => {
    const [stored] = await tags.lock(write.tx, [body.name]);
    if (stored === undefined) throw tagNotFound(body.name);
    await deleteObject(write, 'tag', stored);
  });
  return { json: { message: `Tag ${body.name} deleted successfully` }, rev };
});
