import { type Account, accountKey, isAccountKind, memberId } from '../../domain/account.ts';
import { accountInFeed, restricts } from '../../domain/account-in-feed.ts';
import type { AccountChange, Change } from '../../domain/change.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import { ENTITIES_PER_FRAME_MAX } from '../../feed/protocol.ts';
import type { Database } from '../../storage/db.ts';
import { accountObjects } from '../../storage/queries/feed-accounts.ts';
import type { ChangeTail, Stretch } from './change-tail.ts';

/**
 * Which teams, users and so on restrict their keys. A gateway process of protocol 1 knows none of them, so a key that has to do with one of these
 * is sent to it as blocked. Nothing is read or held before there is such a gateway process. Customers can not be told from others there.
 */
export class RestrictingAccounts {
  readonly #db: Pick<Database, 'read'>;
  #names: Set<string> | null = null;
  #loading: Promise<void> | null = null;
  /** Changed while they are being read: what is read is older. */
  readonly #changedMeanwhile = new Set<string>();
  #isRead = false;
  /** Stretches after which other keys are restricted than before. */
  readonly #turning = new WeakSet<Stretch>();

  /** To be made before anybody else listens to the tail, so that it knows of a stretch first. */
  constructor(db: Pick<Database, 'read'>, tail: Pick<ChangeTail, 'onStretch'>) {
    this.#db = db;
    tail.onStretch((stretch) => {
      for (const change of stretch.changes) if (this.#take(change)) this.#turning.add(stretch);
    });
  }

  /** Resolves when they are known. Throws when the database can not be read. */
  async load(): Promise<void> {
    this.#loading ??= this.#read().catch((error: unknown) => {
      this.#loading = null;
      this.#names = null;
      throw error;
    });
    await this.#loading;
  }

  /** Somebody without accounts can not follow over it: keys that have not changed are restricted from then on, or no longer. */
  isTurning(stretch: Stretch): boolean {
    return this.#turning.has(stretch);
  }

  restrictsKey({ teamId, userId, organizationId, tags }: Principal): boolean {
    const names = this.#names;
    if (names === null || names.size === 0) return false;
    return (
      (teamId !== null && names.has(accountKey('team', teamId))) ||
      (userId !== null && names.has(accountKey('user', userId))) ||
      (teamId !== null && userId !== null && names.has(accountKey('team_member', memberId(teamId, userId)))) ||
      (organizationId !== null && names.has(accountKey('organization', organizationId))) ||
      tags.some((tag) => names.has(accountKey('tag', tag)))
    );
  }

  async #read(): Promise<void> {
    const names = new Set<string>();
    // From here on changes are taken too, and win; one that is older than what is read is followed by its newer one.
    this.#names = names;
    this.#changedMeanwhile.clear();
    await this.#db.read(async (tx) => {
      for await (const { kind, objects } of accountObjects(tx, ENTITIES_PER_FRAME_MAX)) {
        for (const object of objects) {
          const account = accountInFeed(kind, object);
          const name = account === null ? null : accountKey(kind, account.id);
          if (name === null || this.#changedMeanwhile.has(name)) continue;
          if (restrictsKeys(account!)) names.add(name);
        }
      }
    });
    this.#isRead = true;
    this.#changedMeanwhile.clear();
  }

  #take(change: Change): boolean {
    const names = this.#names;
    if (names === null || !concernsKeys(change)) return false;
    const { kind, id, value } = change;
    const name = accountKey(kind, id);
    if (!this.#isRead) this.#changedMeanwhile.add(name);
    const isRestricting = value !== null && restrictsKeys(value);
    if (names.has(name) === isRestricting) return false;
    if (isRestricting) names.add(name);
    else names.delete(name);
    return true;
  }
}

/** Whether it is about an account that keys have to do with. */
export function concernsKeys(change: Change): change is AccountChange {
  return isAccountKind(change.kind) && change.kind !== 'customer' && change.kind !== 'budget';
}

/** A team with an organization is as restricted as that, which is not looked up. */
function restrictsKeys(account: Account): boolean {
  return restricts(account) || (account.kind === 'team' && account.organizationId !== null);
}
