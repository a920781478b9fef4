import { updateKey as updateKeyRoute } from '../../../contract/routes/keys.ts';
import type { UpdateKeyBody } from '../../../contract/schemas/key-request.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { JsonObject, VirtualKey } from '../../../domain/virtual-key.ts';
import { lockKeys, setSpend, updateKey } from '../../../storage/repositories/keys.ts';
import { checkKeyOwners } from '../../accounts/check-key-owners.ts';
import { checkChangedKey, unknownKey } from '../../accounts/key-rights.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { appendChange } from '../../config/append-change.ts';
import { keepMaskedSecrets, sealSecrets } from '../../config/key-secrets.ts';
import { publish } from '../../config/publish.ts';
import { endpoint } from '../handler.ts';
import { applyFields } from './apply-fields.ts';
import { applyUpdateRules } from './generation-rules.ts';
import { presentKey } from './present-key.ts';
import { refusingTaken, resetRulesOf, spendFrom } from './store-key.ts';

export const updateKeyEndpoint = endpoint(updateKeyRoute, async ({ body, caller, origin }, context) => {
  const { clock, db, settings } = context;
  const nowMs = clock.nowMs();
  applyUpdateRules(body, context.config(), nowMs);
  const increase = temporaryIncrease(body);
  const token = tokenOfArgument(body.key);
  if (token === null) throw unknownKey(caller, 'update', new ClavigerError('key_not_found'));
  const spendNano = body.spend == null ? null : spendFrom(body.spend);

  const { value, stretch } = await appendChange(db, origin, async (tx, changed) => {
    const [stored] = await lockKeys(tx, [token]);
    if (stored === undefined) throw unknownKey(caller, 'update', new ClavigerError('key_not_found'));
    const applied = applyFields(stored.key, body, { nowMs, resets: resetRulesOf(context) });
    const next: VirtualKey = {
      ...applied,
      metadata: { ...applied.metadata, ...increase },
      updated_at: new Date(nowMs).toISOString(),
      updated_by: caller.userId,
    };
    const key = sealSecrets(keepMaskedSecrets(next, stored.key), settings.sealingKey);
    await checkChangedKey(tx, caller, stored.key, key, body);
    await checkKeyOwners(tx, key, stored.key);
    const objectRev = stored.objectRev + 1;
    await refusingTaken(key.key_alias, () => updateKey(tx, key, objectRev));
    if (spendNano !== null) await setSpend(tx, token, spendNano);
    changed({ kind: 'key', objectId: token, objectRev, op: 'updated', before: stored.key, after: key });
    return { key, spendNano: spendNano ?? stored.spendNano };
  });
  if (stretch !== null) await publish(stretch, context);
  return { json: { ...presentKey(value.key, value.spendNano), key: body.key }, rev: stretch?.to };
});

/** A temporary increase needs its end; both live in `metadata`. */
function temporaryIncrease({ temp_budget_increase, temp_budget_expiry }: UpdateKeyBody): JsonObject {
  if (temp_budget_increase == null && temp_budget_expiry == null) return {};
  if (temp_budget_increase == null || temp_budget_expiry == null) {
    throw new ClavigerError('bad_request', {
      reason: 'temp_budget_increase and temp_budget_expiry must be given together.',
    });
  }
  if (Number.isNaN(Date.parse(temp_budget_expiry))) {
    throw new ClavigerError(
      'bad_request',
      { reason: `temp_budget_expiry is not a date: ${temp_budget_expiry}` },
      { param: 'temp_budget_expiry' },
    );
  }
  return { temp_budget_increase, temp_budget_expiry };
}
