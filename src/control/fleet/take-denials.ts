import { parseAccountKey } from '../../domain/account.ts';
import { DENIALS_PER_REPORT_MAX, type DenialReply, type DenialReport } from '../../feed/protocol.ts';
import type { Database } from '../../storage/db.ts';
import { unblockedInEpoch } from '../../storage/repositories/change-log.ts';
import { readPosition } from '../../storage/repositories/installation.ts';
import type { StoredKey } from '../../storage/repositories/key-columns.ts';
import { lockKeys, updateKey } from '../../storage/repositories/keys.ts';
import type { Clock } from '../../util/clock.ts';
import { appendChange } from '../config/append-change.ts';
import { blockAccounts } from './block-accounts.ts';
import type { ChangeTail } from './change-tail.ts';
import { Refusal } from './feed-refusal.ts';

export interface TakeDenialsOptions {
  readonly db: Database;
  readonly tail: ChangeTail;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly newId: () => string;
  readonly sealingKey: string;
}

/** Keys and accounts blocked in one transaction, which holds the revision row meanwhile. */
const KEYS_PER_TRANSACTION_MAX = 500;

/** The actor of what the program does by itself. */
export const ACTOR_CLAVIGER = 'claviger';

/**
 * Denials win: keys that a gateway process knew as blocked or deleted before history was replaced, accounts that it knew as blocked, and that
 * came back with the database, are blocked here, each as a change of its own with the gateway id in the audit log. To delete or unblock them is for a person, whose word
 * stands against any later report. The same report twice changes nothing more.
 */
export function createTakeDenials({ db, tail, clock, newId, sealingKey }: TakeDenialsOptions) {
  return async (report: DenialReport): Promise<DenialReply> => {
    const names = [...new Set([...report.blocked, ...report.deleted])];
    if (names.length > DENIALS_PER_REPORT_MAX) {
      throw new Refusal(
        400,
        `a report of denials names ${names.length} keys and accounts; ${DENIALS_PER_REPORT_MAX} are the most`,
      );
    }
    const { epoch, rev: revBefore } = await db.read(readPosition);
    if (report.epoch !== epoch)
      throw new Refusal(409, `these denials are of epoch ${report.epoch}, and it is ${epoch}`);
    const origin = { actor: ACTOR_CLAVIGER, actorKey: null, changedBy: report.gatewayId, requestId: newId() };
    let rev = revBefore;
    let blocked = 0;
    let known = 0;
    let lifted = 0;
    for (let start = 0; start < names.length; start += KEYS_PER_TRANSACTION_MAX) {
      const page = names.slice(start, start + KEYS_PER_TRANSACTION_MAX);
      const { value, stretch } = await appendChange(db, origin, async (tx, changed) => {
        const tokens = page.filter((name) => parseAccountKey(name) === null);
        const accounts = await blockAccounts({ tx, changed, sealingKey }, page, {
          epoch,
          nowMs: clock.nowMs(),
          actor: ACTOR_CLAVIGER,
        });
        const found = await lockKeys(tx, tokens);
        const unblocked = await unblockedInEpoch(tx, epoch, tokens);
        const updated_at = new Date(clock.nowMs()).toISOString();
        for (const { key: before, objectRev } of found) {
          if (before.blocked || unblocked.has(before.token)) continue;
          const after = { ...before, blocked: true, updated_at, updated_by: ACTOR_CLAVIGER };
          await updateKey(tx, after, objectRev + 1);
          changed({ kind: 'key', objectId: before.token, objectRev: objectRev + 1, op: 'blocked', before, after });
        }
        const isLifted = ({ key }: StoredKey) => !key.blocked && unblocked.has(key.token);
        return {
          known: found.length + accounts.known,
          lifted: found.filter(isLifted).length + accounts.lifted,
        };
      });
      known += value.known;
      lifted += value.lifted;
      if (stretch === null) continue;
      blocked += stretch.to - stretch.from;
      rev = stretch.to;
      tail.publish(stretch);
    }
    return { epoch, rev, blocked, known, lifted };
  };
}
