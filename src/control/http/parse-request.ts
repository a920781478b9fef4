import type { RouteDefinition } from '../../contract/define-route.ts';
import { validationDetail } from '../../contract/validation-detail.ts';
import { invalid } from './invalid.ts';
import { readJsonBody } from './read-json-body.ts';

/** Parameters (of path and query) and body of a request as its route declares them; throws a 422 that lists everything that is wrong. */
export async function parseRequest(
  route: RouteDefinition,
  request: Request,
  given: { readonly query: string; readonly inPath: Readonly<Record<string, string>> },
  bytesMax: number,
): Promise<{ query: unknown; body: unknown }> {
  const parameters = { ...queryObject(route, given.query), ...given.inPath };
  const query = route.query.safeParse(parameters, { reportInput: true });
  if (!query.success) throw invalid(validationDetail(query.error, 'query'));
  if (route.body === null) return { query: query.data, body: null };
  const body = route.body.safeParse(await readJsonBody(request, bytesMax), { reportInput: true });
  if (!body.success) throw invalid(validationDetail(body.error, 'body'));
  return { query: query.data, body: body.data };
}

/** The last value of a repeated parameter counts; a parameter that is a list takes them all. */
function queryObject(route: RouteDefinition, rawQuery: string): Record<string, string | string[]> {
  const given = new URLSearchParams(rawQuery);
  const values: Record<string, string | string[]> = {};
  for (const name of Object.keys(route.query.shape)) {
    const all = given.getAll(name).map(storable);
    if (all.length === 0) continue;
    values[name] = LIST_PARAMETERS.has(name) ? all : all.at(-1)!;
  }
  return values;
}

const LIST_PARAMETERS: ReadonlySet<string> = new Set(['expand']);

/** A NUL can not be compared with anything in PostgreSQL; what contains one matches nothing. */
function storable(value: string): string {
  return value.replaceAll('\0', '\ufffd');
}
