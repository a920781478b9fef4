import { generateKey } from '../../../contract/routes/keys.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { insertKey } from '../../../storage/repositories/keys.ts';
import { checkKeyOwners } from '../../accounts/check-key-owners.ts';
import { checkNewKey, onlyAdmins } from '../../accounts/key-rights.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { appendChange } from '../../config/append-change.ts';
import { sealSecrets } from '../../config/key-secrets.ts';
import { publish } from '../../config/publish.ts';
import { endpoint } from '../handler.ts';
import { applyGenerationRules } from './generation-rules.ts';
import { newKey, rawKeyFor } from './new-key.ts';
import { presentGeneratedKey } from './present-key.ts';
import { refusingTaken, resetRulesOf, spendFrom } from './store-key.ts';

export const generateKeyEndpoint = endpoint(generateKey, async ({ body, caller, origin }, context) => {
  const { clock, db, settings, randomBytes } = context;
  const fleetKey = context.fleetKey();
  if (fleetKey === null) throw new ClavigerError('database_away');
  const nowMs = clock.nowMs();
  // Who is no admin makes keys for itself unless it says otherwise.
  const own = isProxyAdmin(caller) || body.user_id != null ? body : { ...body, user_id: caller.userId };
  const fields = applyGenerationRules(own, context.config(), nowMs);
  const rawKey = rawKeyFor(fields.key, { fleetKey, masterKey: settings.masterKey, randomBytes });
  const made = newKey(rawKey, fields, { nowMs, resets: resetRulesOf(context), createdBy: caller.userId });
  const key = sealSecrets(made, settings.sealingKey);
  const spendNano = spendFrom(fields.spend ?? 0);

  const { stretch } = await appendChange(db, origin, async (tx, changed) => {
    await checkNewKey(tx, caller, key, context.config());
    if (spendNano !== 0n && !isProxyAdmin(caller)) throw onlyAdmins('spend');
    await checkKeyOwners(tx, key, null);
    await refusingTaken(key.key_alias, () => insertKey(tx, key, spendNano));
    changed({ kind: 'key', objectId: key.token, objectRev: 1, op: 'created', before: null, after: key });
  });
  if (stretch !== null) await publish(stretch, context);
  return { json: presentGeneratedKey(key, rawKey, spendNano, fields), rev: stretch?.to };
});
