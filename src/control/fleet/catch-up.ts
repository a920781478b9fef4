import { type Change, type Position, SETTING_FLEET_KEY } from '../../domain/change.ts';
import { principalFromKey } from '../../domain/principal-from-key.ts';
import { ENTITIES_PER_FRAME_MAX, FEED_PROTOCOL } from '../../feed/protocol.ts';
import type { Database, Tx } from '../../storage/db.ts';
import { countKeys, deletedTokensAfter, keysAfter } from '../../storage/queries/feed-snapshot.ts';
import { readChanges } from '../../storage/repositories/change-log.ts';
import { readPosition } from '../../storage/repositories/installation.ts';
import { changeFromLog } from './change-from-log.ts';
import type { Subscriber } from './subscriber.ts';

/** A subscriber that is further behind gets a snapshot: that many changes are about as long as one, and slower to apply. */
export const DELTA_REVISIONS_MAX = 1_000;

export interface CatchUpSource {
  readonly db: Database;
  /** Base64. */
  readonly fleetKey: string;
}

/**
 * Brings a subscriber from what it has to `current` (as the tail knows it) or later, and makes it live. Whatever the tail hands on
 * meanwhile waits in the subscriber.
 */
export async function catchUp(
  subscriber: Subscriber,
  have: Position | null,
  current: Position,
  source: CatchUpSource,
): Promise<void> {
  const changes = canContinue(have, current) ? await changesSince(have, current, source.db) : null;
  if (have === null || changes === null) {
    await source.db.snapshot((tx) => sendSnapshot(subscriber, tx, source.fleetKey));
    return;
  }
  const to = changes.at(-1)?.rev ?? have.rev;
  subscriber.write({ t: 'welcome', protocol: FEED_PROTOCOL, position: current, mode: 'delta' });
  subscriber.writeDelta({ epoch: have.epoch, from: have.rev, to, changes });
  subscriber.goLive(to);
}

/** Null: the change log does not reach back that far. */
async function changesSince(have: Position, current: Position, db: Database): Promise<Change[] | null> {
  // One that is up to date is served without the database, so that it can come back while that is away.
  if (have.rev === current.rev) return [];
  const logged = await db.read((tx) =>
    readChanges(tx, { epoch: have.epoch, after: have.rev, limit: DELTA_REVISIONS_MAX }),
  );
  const isComplete = logged[0]?.rev === have.rev + 1 && logged.at(-1)!.rev >= current.rev;
  return isComplete ? logged.map(changeFromLog) : null;
}

function canContinue(have: Position | null, current: Position): have is Position {
  return (
    have !== null &&
    have.installation === current.installation &&
    have.epoch === current.epoch &&
    have.rev <= current.rev &&
    current.rev - have.rev <= DELTA_REVISIONS_MAX
  );
}

/** Revision and keys are of the same moment, because `tx` sees one. */
async function sendSnapshot(subscriber: Subscriber, tx: Tx, fleetKey: string): Promise<void> {
  const position = await readPosition(tx);
  const keyCount = await countKeys(tx);
  subscriber.write({ t: 'welcome', protocol: FEED_PROTOCOL, position, mode: 'snapshot' });
  subscriber.write({ t: 'snapshot-begin', position, keyCount });
  subscriber.write({ t: 'settings', settings: { [SETTING_FLEET_KEY]: fleetKey } });
  for (let after = 0n; ; ) {
    const { keys, last } = await keysAfter(tx, after, ENTITIES_PER_FRAME_MAX);
    if (last === null) break;
    after = last;
    await subscriber.writeSlowly({
      t: 'keys',
      keys: keys.map(({ key, spendNano }) => ({ principal: principalFromKey(key), spendNano: String(spendNano) })),
    });
  }
  for (let after = ''; ; ) {
    const tokens = await deletedTokensAfter(tx, after, ENTITIES_PER_FRAME_MAX);
    if (tokens.length === 0) break;
    after = tokens.at(-1)!;
    await subscriber.writeSlowly({ t: 'deleted-keys', tokens });
  }
  subscriber.write({ t: 'snapshot-end', position });
  // At once: it has everything, whatever becomes of the transaction that read it.
  subscriber.goLive(position.rev);
}
