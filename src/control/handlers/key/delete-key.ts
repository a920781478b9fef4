import { deleteKey as deleteKeyRoute } from '../../../contract/routes/keys.ts';
import type { DeleteKeyBody } from '../../../contract/schemas/key-request.ts';
import { ClavigerError, listText } from '../../../domain/error-catalogue.ts';
import { maskKey } from '../../../domain/generated-key.ts';
import type { Tx } from '../../../storage/db.ts';
import { deleteKey, lockKeys, tokensOfAliases } from '../../../storage/repositories/keys.ts';
import { mayWriteKey, unknownKey } from '../../accounts/key-rights.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { appendChange } from '../../config/append-change.ts';
import { publish } from '../../config/publish.ts';
import { invalid } from '../../http/invalid.ts';
import { endpoint } from '../handler.ts';

/** More in one request are a 400: each is an entry of the change log, and all of them are one transaction. */
export const KEYS_PER_DELETE_MAX = 1_000;
/** Keys that the text of a 404 names. */
const KEYS_NAMED_MAX = 10;

export const deleteKeyEndpoint = endpoint(deleteKeyRoute, async ({ body, caller, origin }, context) => {
  const { clock, db } = context;
  const wanted = wantedKeys(body);
  const { value, stretch } = await appendChange(db, origin, async (tx, changed) => {
    const passed = await passedByToken(tx, wanted);
    const found = await lockKeys(tx, [...passed.keys()]);
    if (found.length === 0) throw unknownKey(caller, 'delete', nothingFound(wanted));
    const deletedAt = new Date(clock.nowMs()).toISOString();
    for (const { key } of found) await mayWriteKey(tx, caller, key, 'delete');
    for (const stored of found) {
      const { key } = stored;
      const objectRev = stored.objectRev + 1;
      await deleteKey(
        tx,
        { ...stored, objectRev },
        { deletedAt, deletedBy: caller.userId, deletedByApiKey: caller.token, changedBy: origin.changedBy },
      );
      changed({ kind: 'key', objectId: key.token, objectRev, op: 'deleted', before: key, after: null });
    }
    const gone = new Set(found.flatMap(({ key }) => passed.get(key.token)!));
    return wanted.names.filter((name) => gone.has(name));
  });
  if (stretch !== null) await publish(stretch, context);
  return { json: { deleted_keys: value }, rev: stretch?.to };
});

interface Wanted {
  readonly by: 'key' | 'alias';
  /** As passed. */
  readonly names: readonly string[];
}

function wantedKeys(body: DeleteKeyBody): Wanted {
  const keys = body.keys ?? (body.key ? [body.key] : null);
  const aliases = body.key_aliases ?? null;
  if ((keys === null) === (aliases === null)) {
    throw invalid([{ loc: ['body'], msg: 'Value error, pass either keys or key_aliases', type: 'value_error' }]);
  }
  const names = [...new Set(keys ?? aliases ?? [])];
  if (names.length > KEYS_PER_DELETE_MAX) {
    throw new ClavigerError('bad_request', {
      reason: `${names.length} keys in one request are more than ${KEYS_PER_DELETE_MAX}. Delete them in several requests.`,
    });
  }
  return { by: keys === null ? 'alias' : 'key', names };
}

/** Token to the names that were passed for it. A key may be named twice: by itself and by its hash. */
async function passedByToken(tx: Tx, { by, names }: Wanted): Promise<Map<string, string[]>> {
  const passed = new Map<string, string[]>();
  const add = (token: string, name: string) => passed.set(token, [...(passed.get(token) ?? []), name]);
  if (by === 'alias') {
    for (const { token, alias } of await tokensOfAliases(tx, names)) add(token, alias);
    return passed;
  }
  for (const name of names) {
    const token = tokenOfArgument(name);
    if (token !== null) add(token, name);
  }
  return passed;
}

function nothingFound({ by, names }: Wanted): ClavigerError {
  const shown = names.slice(0, KEYS_NAMED_MAX).map((name) => (by === 'key' ? maskKey(name) : name));
  return new ClavigerError('keys_to_delete_not_found', { keys: listText(shown) });
}
