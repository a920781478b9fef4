import { listTagsRoute, tagInfoRoute } from '../../../contract/routes/tags.ts';
import { tags } from '../../../storage/repositories/tags.ts';
import { budgetsOf, presentTag } from '../../accounts/present-objects.ts';
import { tagNotFound } from '../../accounts/tag-objects.ts';
import { endpoint } from '../handler.ts';

/** The route has no pages. `x-claviger-truncated: true` says that there are more; `/tag/info` shows any by name. */
export const TAGS_LISTED_MAX = 1_000;

export const tagInfoEndpoint = endpoint(tagInfoRoute, async ({ body }, { db }) => ({
  json: await db.read(async (tx) => {
    const found = await tags.findAll(tx, body.names);
    const byName = new Map(found.map((tag) => [tag.object.name, tag]));
    const missing = body.names.find((name) => !byName.has(name));
    if (missing !== undefined) throw tagNotFound(missing);
    const known = await budgetsOf(tx, found);
    return Object.fromEntries(found.map((tag) => [tag.object.name, presentTag(tag, known)]));
  }),
}));

export const listTagsEndpoint = endpoint(listTagsRoute, async (_input, { staleReads, tail }) =>
  staleReads.read(async (tx) => {
    const { rows, total } = await tags.newest(tx, TAGS_LISTED_MAX);
    const known = await budgetsOf(tx, rows);
    const json = rows.map((row) => presentTag(row, known));
    return { json, headers: total > rows.length ? { 'x-claviger-truncated': 'true' } : {} };
  }, tail.position?.rev),
);
