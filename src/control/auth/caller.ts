import type { UserRole } from '../../domain/internal-user.ts';
import type { StoredKey } from '../../storage/repositories/key-columns.ts';

/** Who makes a management request. */
export type Caller =
  | { readonly kind: 'master'; readonly token: typeof MASTER_KEY_TOKEN; readonly userId: typeof MASTER_USER_ID }
  | {
      readonly kind: 'key';
      readonly token: string;
      readonly userId: string | null;
      /** Of the user that the key belongs to; null: it belongs to nobody, or to somebody without a role. */
      readonly role: UserRole | null;
      readonly stored: StoredKey;
    };

/** Stands for the master key in audit and usage; its hash appears nowhere. */
export const MASTER_KEY_TOKEN = 'litellm_proxy_master_key';
export const MASTER_USER_ID = 'default_user_id';

export const MASTER: Caller = { kind: 'master', token: MASTER_KEY_TOKEN, userId: MASTER_USER_ID };

/** The master key, and every key of a user who is a proxy admin. */
export function isProxyAdmin(caller: Caller): boolean {
  return caller.kind === 'master' || caller.role === 'proxy_admin';
}

/** An admin, or somebody who may look at everything an admin sees. */
export function seesEverything(caller: Caller): boolean {
  return isProxyAdmin(caller) || (caller.kind === 'key' && caller.role === 'proxy_admin_viewer');
}

/** Whether the caller may see what belongs to this key. An admin sees all, a key itself and the keys of its user. */
export function maySee(caller: Caller, owner: { readonly token: string; readonly userId: string | null }): boolean {
  if (seesEverything(caller) || caller.token === owner.token) return true;
  return caller.userId !== null && caller.userId === owner.userId;
}
