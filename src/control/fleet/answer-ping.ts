import type { PingReply, PingRequest } from '../../feed/protocol.ts';
import { DatabaseUnavailable } from '../../storage/db.ts';
import type { Clock } from '../../util/clock.ts';
import type { ChangeTail } from './change-tail.ts';
import type { Beat } from './heartbeat.ts';

export interface AnswerPingOptions {
  readonly tail: Pick<ChangeTail, 'position' | 'dbAgeMs' | 'readNow'>;
  /**
   * Newest revision that was read inside of a committed write. `'reads'`: the database is a child of this instance and can not be another one
   * than a moment ago; then what the tail has read says the same.
   */
  readonly witness: () => Beat | null | 'reads';
  /** The clock of tail and witness. */
  readonly clock: Clock;
  /** Gateway processes that are connected here. */
  readonly connectedCount: () => number;
}

/** Pings of all gateway processes together. With more of them, each is asked to come less often. */
export const PINGS_PER_SECOND_MAX = 200;
/** A database that has not answered a fresh question by then is away for whoever waits. */
const FRESH_READ_MS_MAX = 2_000;
/** Reads for fresh pings under way at once, all of them on the one connection that is kept for questions (`RevisionLine`). */
export const READS_MAX = 8;

/**
 * Answers pings of gateway processes. Ages are those of the moment of answering, so that what the answer proves is that the database was read at
 * most so long before it, whatever happens to the answer on its way. A fresh ping is answered from a read that began after it came; beyond a few at a
 * time, all share the next. Throws `DatabaseUnavailable` when there is nothing to say.
 */
export function createAnswerPing(options: AnswerPingOptions): (ping: PingRequest) => Promise<PingReply> {
  const { tail, witness, clock, connectedCount } = options;
  const readAgain = fewAtATime(() => readNow(options));
  return async ({ sentAtMs, fresh }) => {
    if (fresh) await readAgain();
    const { position } = tail;
    if (position === null) throw new DatabaseUnavailable('the database has not been reached yet');
    const { epoch, rev } = position;
    const dbAgeMs = tail.dbAgeMs();
    const proof = witness();
    const proved =
      proof === 'reads'
        ? { witnessRev: rev, witnessAgeMs: dbAgeMs }
        : proof === null || proof.epoch !== epoch
          ? // Nothing is proved: an age that no fence allows.
            { witnessRev: rev, witnessAgeMs: Number.MAX_SAFE_INTEGER }
          : { witnessRev: proof.rev, witnessAgeMs: Math.max(0, clock.monotonicMs() - proof.readAtMs) };
    const intervalMs = Math.ceil((connectedCount() * 1000) / PINGS_PER_SECOND_MAX);
    return { sentAtMs, epoch, rev, dbAgeMs, ...proved, serverTimeMs: clock.nowMs(), intervalMs };
  };
}

/** Makes sure that the tail has everything that was committed before this call: one round trip to the database, whatever else is under way. */
async function readNow({ tail, clock }: AnswerPingOptions): Promise<void> {
  const askedAtMs = clock.monotonicMs();
  await inTime(tail.readNow());
  // One that another read has overtaken, or that found another history, has confirmed nothing.
  if (tail.dbAgeMs() > clock.monotonicMs() - askedAtMs) throw late();
}

async function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), FRESH_READ_MS_MAX);
  });
  try {
    return await Promise.race([promise, enough]);
  } finally {
    clearTimeout(timer);
  }
}

function late(): DatabaseUnavailable {
  return new DatabaseUnavailable('the database did not answer in time');
}

/** At most `READS_MAX` are under way, and one more waits for its turn, however many ask; none is answered by one that had begun before. */
function fewAtATime(begin: () => Promise<void>): () => Promise<void> {
  const running = new Set<Promise<void>>();
  let next: Promise<void> | null = null;

  function run(): Promise<void> {
    const reading = begin().finally(() => running.delete(reading));
    running.add(reading);
    return reading;
  }

  async function runNext(): Promise<void> {
    while (running.size >= READS_MAX) await Promise.race(running).catch(() => undefined);
    next = null;
    return run();
  }

  return () => {
    if (running.size < READS_MAX) return run();
    next ??= runNext();
    return next;
  };
}
