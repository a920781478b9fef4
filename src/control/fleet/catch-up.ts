import { accountInFeed } from '../../domain/account-in-feed.ts';
import { type Position, SETTING_FLEET_KEY } from '../../domain/change.ts';
import { principalFromKey } from '../../domain/principal-from-key.ts';
import { servesRegion, storedModelFrom } from '../../domain/stored-model.ts';
import { type DownFrame, ENTITIES_PER_FRAME_MAX, type Hello } from '../../feed/protocol.ts';
import type { Database, Tx } from '../../storage/db.ts';
import { accountObjects } from '../../storage/queries/feed-accounts.ts';
import { countKeys, deletedTokensAfter, keysAfter } from '../../storage/queries/feed-snapshot.ts';
import { readChanges } from '../../storage/repositories/change-log.ts';
import { readPositionAndHead } from '../../storage/repositories/installation.ts';
import { allModels } from '../../storage/repositories/models.ts';
import { Turns } from '../../util/turns.ts';
import { changesFromLog } from './change-from-log.ts';
import type { ChangeTail, Stretch } from './change-tail.ts';
import { principalForProtocol1 } from './changes-for.ts';
import { raiseEpoch, relationOf } from './raise-epoch.ts';
import { RECENT_REVISIONS_MAX, type RecentChanges } from './recent-changes.ts';
import { concernsKeys, type RestrictingAccounts } from './restricting-accounts.ts';
import { type Subscriber, SubscriberGone } from './subscriber.ts';

/** A subscriber that is further behind gets a snapshot: that many changes are about as long as one, and slower to apply. */
export const DELTA_REVISIONS_MAX = RECENT_REVISIONS_MAX;
/** Snapshots that are read and sent at once: each holds a connection of the pool until its subscriber has taken it. */
export const SNAPSHOTS_AT_ONCE_MAX = 4;
/** Reads of the change log at once, so that a fleet that comes back leaves connections to the management API. */
export const DELTA_READS_AT_ONCE_MAX = 4;
/** A snapshot that takes longer is given up, and its place is free again. */
export const SNAPSHOT_MAX_MS = 10 * 60_000;
/** Who has waited so long for its turn is told to come back. */
export const PLACE_WAIT_MAX_MS = 10 * 60_000;

/** There was no turn in time. */
export class NoPlace extends Error {
  override name = 'NoPlace';
}

export interface CatchUpSource {
  readonly db: Database;
  readonly tail: ChangeTail;
  readonly recent: RecentChanges;
  /** Base64. */
  readonly fleetKey: string;
  readonly places: CatchUpPlaces;
  readonly restricting: RestrictingAccounts;
}

/** Who is served at once; the others wait, and pings tell them that they are not forgotten. */
export interface CatchUpPlaces {
  readonly snapshots: Turns;
  readonly deltaReads: Turns;
}

export function createCatchUpPlaces(snapshotsAtOnceMax: number = SNAPSHOTS_AT_ONCE_MAX): CatchUpPlaces {
  return { snapshots: new Turns(snapshotsAtOnceMax), deltaReads: new Turns(DELTA_READS_AT_ONCE_MAX) };
}

/**
 * Brings a subscriber from what it has to what the tail knows or later, and makes it live. Whatever the tail hands on meanwhile waits in
 * the subscriber. 'forked': what it has is not of this database's history; the epoch has been raised, and it must come again.
 */
export async function catchUp(
  subscriber: Subscriber,
  hello: Pick<Hello, 'have' | 'head'>,
  source: CatchUpSource,
): Promise<'live' | 'forked'> {
  const { db, places } = source;
  const have = hello.have;
  if (subscriber.protocol < 2) await source.restricting.load();
  const missed =
    have === null ? null : await inTurn(places.deltaReads, () => missedSince(have, hello.head ?? null, source));
  if (missed === 'forked') return missed;
  if (have !== null && missed !== null && canFollow(subscriber, missed)) {
    subscriber.write(welcome(subscriber, missed.position, 'delta', missed.head));
    subscriber.goLive(have, missed.stretches);
    return 'live';
  }
  await inTurn(places.snapshots, async () => {
    if (subscriber.gone) throw new SubscriberGone('the subscriber went away while it waited for a snapshot');
    const timer = setTimeout(() => subscriber.close(), SNAPSHOT_MAX_MS);
    try {
      await db.snapshot((tx) => sendSnapshot(subscriber, tx, source));
    } finally {
      clearTimeout(timer);
    }
  });
  return 'live';
}

/** Protocol 1 has no accounts: what a change of one means for keys is in a snapshot only. */
function canFollow({ protocol }: Subscriber, { stretches }: Missed): boolean {
  return protocol >= 2 || !stretches.some(({ changes }) => changes.some(concernsKeys));
}

async function inTurn<T>(turns: Turns, work: () => Promise<T>): Promise<T> {
  if (!(await turns.take(PLACE_WAIT_MAX_MS))) throw new NoPlace('too many gateway processes come back at once');
  try {
    return await work();
  } finally {
    turns.give();
  }
}

interface Missed {
  /** What `welcome` says. */
  readonly position: Position;
  readonly head: string | null;
  readonly stretches: readonly Stretch[];
}

/** Null: the change log does not lead from there to the present, or it is too far. */
async function missedSince(
  have: Position,
  head: string | null,
  source: CatchUpSource,
): Promise<Missed | 'forked' | null> {
  const { db, tail, recent } = source;
  const position = tail.position!;
  if (have.installation !== position.installation || have.epoch < position.epoch) return null;
  const isCurrent = have.epoch === position.epoch && have.rev === position.rev;
  // One that is up to date is served without the database, so that it can come back while that is away.
  if (isCurrent && (head === null || head === tail.head)) {
    return { position, head: tail.head, stretches: [] };
  }
  const known = await recent.since(have, head);
  if (known !== null) return { position: tail.position!, head: tail.head, stretches: known };
  const held = { position: have, head };
  const relation = await relationOf(db, held);
  if (relation === 'older') return null;
  if (relation === 'forked') {
    // Also when somebody else has raised it by now.
    await raiseEpoch(db, held);
    return 'forked';
  }
  const { epoch, rev: after } = have;
  // Where the tail stands by now: another control process may have told the subscriber more than ours knew.
  if (tail.position!.rev < after) await tail.poll();
  const current = tail.position!;
  if (epoch !== current.epoch || after > current.rev || current.rev - after > DELTA_REVISIONS_MAX) return null;
  const logged = await db.read((tx) => readChanges(tx, { epoch, after, limit: DELTA_REVISIONS_MAX }));
  const newest = logged.at(-1);
  if (newest === undefined) return after === current.rev ? { position: current, head: tail.head, stretches: [] } : null;
  if (logged[0]!.rev !== after + 1 || newest.rev < current.rev) return null;
  return { position: current, head: null, stretches: stretchesOf(epoch, after, logged) };
}

/** Of one frame each, so that the audit head is known wherever one ends. */
function stretchesOf(epoch: number, after: number, logged: Awaited<ReturnType<typeof readChanges>>): Stretch[] {
  const stretches: Stretch[] = [];
  let from = after;
  for (let start = 0; start < logged.length; start += ENTITIES_PER_FRAME_MAX) {
    const piece = logged.slice(start, start + ENTITIES_PER_FRAME_MAX);
    const { rev: to, head } = piece.at(-1)!;
    stretches.push({ epoch, from, to, changes: changesFromLog(piece), head });
    from = to;
  }
  return stretches;
}

/** Revision, keys, accounts and models are of the same moment, because `tx` sees one. */
async function sendSnapshot(
  subscriber: Subscriber,
  tx: Tx,
  { fleetKey, restricting }: Pick<CatchUpSource, 'fleetKey' | 'restricting'>,
): Promise<void> {
  const isProtocol1 = subscriber.protocol < 2;
  const { position, head } = await readPositionAndHead(tx);
  const keyCount = await countKeys(tx);
  subscriber.write(welcome(subscriber, position, 'snapshot', head));
  subscriber.write({ t: 'snapshot-begin', position, keyCount });
  subscriber.write({ t: 'settings', settings: { [SETTING_FLEET_KEY]: fleetKey } });
  if (!isProtocol1) await sendModels(subscriber, tx);
  // Before the keys, so that no key is ever there without the rules that hold for it.
  const accountCount = isProtocol1 ? 0 : await sendAccounts(subscriber, tx);
  for (let after = 0n; ; ) {
    const { keys, last } = await keysAfter(tx, after, ENTITIES_PER_FRAME_MAX);
    if (last === null) break;
    after = last;
    await subscriber.writeSlowly({
      t: 'keys',
      keys: keys.map(({ key, spendNano }) => {
        const principal = principalFromKey(key);
        const sent = isProtocol1 ? principalForProtocol1(principal, restricting.restrictsKey(principal)) : principal;
        return { principal: sent, spendNano: String(spendNano) };
      }),
    });
  }
  for (let after = ''; ; ) {
    const tokens = await deletedTokensAfter(tx, after, ENTITIES_PER_FRAME_MAX);
    if (tokens.length === 0) break;
    after = tokens.at(-1)!;
    await subscriber.writeSlowly({ t: 'deleted-keys', tokens });
  }
  subscriber.write({ t: 'snapshot-end', position, ...(isProtocol1 ? {} : { head, accountCount }) });
  // At once: it has everything, whatever becomes of the transaction that read it.
  subscriber.goLive(position);
}

async function sendAccounts(subscriber: Subscriber, tx: Tx): Promise<number> {
  let count = 0;
  for await (const { kind, objects } of accountObjects(tx, ENTITIES_PER_FRAME_MAX)) {
    const accounts = objects.map((object) => accountInFeed(kind, object)).filter((account) => account !== null);
    count += accounts.length;
    if (accounts.length > 0) await subscriber.writeSlowly({ t: 'accounts', accounts });
  }
  return count;
}

async function sendModels(subscriber: Subscriber, tx: Tx): Promise<void> {
  const models = (await allModels(tx))
    .map(({ model }) => storedModelFrom(model))
    .filter((model) => servesRegion(model, subscriber.region));
  for (let start = 0; start < models.length; start += ENTITIES_PER_FRAME_MAX) {
    const page = models.slice(start, start + ENTITIES_PER_FRAME_MAX);
    await subscriber.writeSlowly({ t: 'models', models: page });
  }
}

function welcome(
  { protocol }: Subscriber,
  position: Position,
  mode: 'snapshot' | 'delta',
  head: string | null,
): DownFrame {
  const frame = { t: 'welcome', protocol, position, mode } as const;
  return protocol < 2 || head === null ? frame : { ...frame, head };
}
