import { keyInfoRoute } from '../../../contract/routes/keys.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { findKey } from '../../../storage/repositories/keys.ts';
import { isProxyAdmin, maySee } from '../../auth/caller.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { endpoint } from '../handler.ts';
import { presentKeyInfo } from './present-key.ts';

export const keyInfoEndpoint = endpoint(keyInfoRoute, async ({ query, caller }, { db }) => {
  const token = query.key === undefined ? caller.token : tokenOfArgument(query.key);
  const stored = token === null ? null : await db.read((tx) => findKey(tx, token));
  if (stored === null) {
    // The same answer as for a key of somebody else: who may not see a key does not learn whether it exists.
    throw isProxyAdmin(caller) ? new ClavigerError('key_not_found') : notYours();
  }
  const { key, spendNano } = stored;
  if (!maySee(caller, { token: key.token, userId: key.user_id })) throw notYours();
  return { json: { key: query.key ?? key.token, info: presentKeyInfo(key, spendNano) } };
});

function notYours(): ClavigerError {
  return new ClavigerError('not_your_object', { action: 'view this key' });
}
