import { keyInfoRoute } from '../../../contract/routes/keys.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { VirtualKey } from '../../../domain/virtual-key.ts';
import type { Database } from '../../../storage/db.ts';
import { budgets } from '../../../storage/repositories/budget-objects.ts';
import { findKey } from '../../../storage/repositories/keys.ts';
import { teams } from '../../../storage/repositories/teams.ts';
import { roleInTeam } from '../../accounts/rights.ts';
import { type Caller, maySee, seesEverything } from '../../auth/caller.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { endpoint } from '../handler.ts';
import { presentKeyInfo } from './present-key.ts';

export const keyInfoEndpoint = endpoint(keyInfoRoute, async ({ query, caller }, { db }) => {
  const token = query.key === undefined ? caller.token : tokenOfArgument(query.key);
  const stored = token === null ? null : await db.read((tx) => findKey(tx, token));
  if (stored === null) {
    // The same answer as for a key of somebody else: who may not see a key does not learn whether it exists.
    throw seesEverything(caller) ? new ClavigerError('key_not_found') : notYours();
  }
  const { key, spendNano } = stored;
  if (!maySee(caller, { token: key.token, userId: key.user_id }) && !(await isOfOwnTeam(caller, key, db)))
    throw notYours();
  const { budget_id } = key;
  const budget = budget_id === null ? null : await db.read((tx) => budgets.find(tx, budget_id));
  return { json: { key: query.key ?? key.token, info: presentKeyInfo(key, spendNano, budget?.object ?? null) } };
});

/** An admin of a team sees its keys. */
async function isOfOwnTeam(caller: Caller, { team_id }: VirtualKey, db: Database): Promise<boolean> {
  if (team_id === null) return false;
  return db.read(async (tx) => {
    const team = await teams.find(tx, team_id);
    const role = team === null ? 'none' : await roleInTeam(tx, caller, team.object);
    return role === 'team admin' || role === 'organization admin';
  });
}

function notYours(): ClavigerError {
  return new ClavigerError('not_your_object', { action: 'view this key' });
}
