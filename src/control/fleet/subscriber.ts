import type { ServerResponse } from 'node:http';
import { encodeDownFrame } from '../../feed/codec.ts';
import { type DownFrame, ENTITIES_PER_FRAME_MAX, FEED_BACKLOG_BYTES_MAX } from '../../feed/protocol.ts';
import type { Stretch } from './change-tail.ts';
import type { FeedConnection } from './registry.ts';

/** A subscriber that takes nothing for so long while it is sent a snapshot is given up. */
export const SNAPSHOT_STALL_MAX_MS = 30_000;

export class SubscriberGone extends Error {
  override name = 'SubscriberGone';
}

/**
 * The stream of one gateway process. It catches up first, from the change log or with a snapshot; what is committed meanwhile waits
 * and follows. Then it is live: each stretch is written as it comes. What it has not read is bounded; at the bound the stream ends and
 * the subscriber starts again from its revision.
 */
export class Subscriber implements FeedConnection {
  readonly #response: ServerResponse;
  readonly #backlogBytesMax: number;
  /** Revision up to which everything has been written; null while it catches up. */
  #rev: number | null = null;
  #waiting: Stretch[] = [];
  #waitingChanges = 0;

  constructor(response: ServerResponse, backlogBytesMax: number = FEED_BACKLOG_BYTES_MAX) {
    this.#response = response;
    this.#backlogBytesMax = backlogBytesMax;
  }

  get live(): boolean {
    return this.#rev !== null;
  }

  get gone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  /** A stretch that was committed after the subscriber was registered. */
  offer(stretch: Stretch): void {
    if (this.#rev !== null) {
      this.#send(stretch);
      return;
    }
    this.#waiting.push(stretch);
    this.#waitingChanges += stretch.changes.length;
    if (this.#waitingChanges > WAITING_CHANGES_MAX) this.close();
  }

  /** It has everything up to `rev`: what waited follows, then it is live. */
  goLive(rev: number): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#rev = rev;
    for (const stretch of waiting) this.#send(stretch);
  }

  /** Writes without waiting; used for what is small or must go out at once. */
  write(frame: DownFrame): void {
    if (this.gone) return;
    this.#response.write(encodeDownFrame(frame));
    if (this.#response.writableLength > this.#backlogBytesMax) this.close();
  }

  /** Writes and waits while the subscriber is slow. Throws `SubscriberGone`. */
  async writeSlowly(frame: DownFrame): Promise<void> {
    this.write(frame);
    if (!this.gone && this.#response.writableNeedDrain) await drained(this.#response);
    if (this.gone) throw new SubscriberGone('the subscriber went away during a snapshot');
  }

  supersede(): void {
    this.#end({ t: 'superseded' });
  }

  replace(): void {
    this.close();
  }

  goAway(retryAfterMs: number): void {
    this.#end({ t: 'goaway', retryAfterMs });
  }

  close(): void {
    this.#response.destroy();
  }

  #end(frame: DownFrame): void {
    if (!this.gone) this.#response.end(encodeDownFrame(frame));
  }

  /** Parts that it already has, from a snapshot or the change log, are left out. */
  #send({ epoch, from, to, changes }: Stretch): void {
    const rev = this.#rev!;
    if (to <= rev) return;
    if (from > rev) {
      // Can not happen while the tail hands on every stretch; starting again is safe, skipping is not.
      this.close();
      return;
    }
    this.#rev = to;
    this.writeDelta({ epoch, from: rev, to, changes: changes.filter((change) => change.rev > rev) });
  }

  /** In frames that a decoder takes. */
  writeDelta({ epoch, from, to, changes }: Stretch): void {
    let sent = from;
    for (let start = 0; start < changes.length; start += ENTITIES_PER_FRAME_MAX) {
      const part = changes.slice(start, start + ENTITIES_PER_FRAME_MAX);
      const isLast = start + ENTITIES_PER_FRAME_MAX >= changes.length;
      const end = isLast ? to : part.at(-1)!.rev;
      this.write({ t: 'delta', epoch, from: sent, to: end, changes: part });
      sent = end;
    }
  }
}

/** Changes that may wait during a snapshot (a few hundred bytes each); beyond it the subscriber starts again. */
const WAITING_CHANGES_MAX = 20_000;

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      response.off('drain', end);
      response.off('close', end);
      resolve();
    };
    const timer = setTimeout(() => response.destroy(), SNAPSHOT_STALL_MAX_MS);
    response.once('drain', end);
    response.once('close', end);
  });
}
