import { blockKey, unblockKey } from '../../../contract/routes/keys.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { VirtualKey } from '../../../domain/virtual-key.ts';
import { lockKeys, updateKey } from '../../../storage/repositories/keys.ts';
import { mayWriteKey, unknownKey } from '../../accounts/key-rights.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { appendChange } from '../../config/append-change.ts';
import { publish } from '../../config/publish.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput, type HandlerResult } from '../handler.ts';
import { presentKey } from './present-key.ts';

export const blockKeyEndpoint = endpoint(blockKey, (input, context) => setBlocked(true, input, context));
export const unblockKeyEndpoint = endpoint(unblockKey, (input, context) => setBlocked(false, input, context));

/** Blocking a blocked key is a change too: it says in the log who wanted it. */
async function setBlocked(
  blocked: boolean,
  { body, caller, origin }: HandlerInput<unknown, { readonly key: string }>,
  context: ControlContext,
): Promise<HandlerResult> {
  const { clock, db } = context;
  const token = tokenOfArgument(body.key);
  const action = blocked ? 'block' : 'unblock';
  if (token === null) throw unknownKey(caller, action, new ClavigerError('invalid_key_format'));
  const { value, stretch } = await appendChange(db, origin, async (tx, changed) => {
    const [stored] = await lockKeys(tx, [token]);
    if (stored === undefined) throw unknownKey(caller, action, new ClavigerError('key_not_found'));
    await mayWriteKey(tx, caller, stored.key, action);
    const updated_at = new Date(clock.nowMs()).toISOString();
    const key: VirtualKey = { ...stored.key, blocked, updated_at, updated_by: caller.userId };
    const objectRev = stored.objectRev + 1;
    await updateKey(tx, key, objectRev);
    const op = blocked ? 'blocked' : 'unblocked';
    changed({ kind: 'key', objectId: token, objectRev, op, before: stored.key, after: key });
    return { key, spendNano: stored.spendNano };
  });
  if (stretch !== null) await publish(stretch, context);
  return { json: presentKey(value.key, value.spendNano), rev: stretch?.to };
}
