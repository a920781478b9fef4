import type { ServerResponse } from 'node:http';
import type { Position } from '../../domain/change.ts';
import { type DownFrame, FEED_BACKLOG_BYTES_MAX, type FleetCommand, type Hello } from '../../feed/protocol.ts';
import type { Stretch } from './change-tail.ts';
import { changesFor, type IsRestricted } from './changes-for.ts';
import { encodeFrame } from './encoded-change.ts';
import type { FeedConnection } from './registry.ts';
import {
  ACK_WINDOW_MAX_MS,
  initialSubscriberState,
  isBehind,
  type Part,
  type SubscriberAction,
  type SubscriberEvent,
  type SubscriberState,
  step,
} from './subscriber-state.ts';

/** A subscriber that takes nothing for so long while it is sent a snapshot is given up. */
export const SNAPSHOT_STALL_MAX_MS = 30_000;

export class SubscriberGone extends Error {
  override name = 'SubscriberGone';
}

export interface SubscriberOptions {
  readonly hello: Pick<Hello, 'protocol' | 'region'>;
  readonly epoch: number;
  readonly nowMs: () => number;
  /** Asked for clients of protocol 1 only. */
  readonly isRestricted?: IsRestricted;
  readonly ackWindowMaxMs?: number;
  readonly backlogBytesMax?: number;
  /** It was given up, with the reason; not called when it left by itself. */
  readonly onClosed?: (reason: string) => void;
  /** Frames as lines, null as a sign of life, for a joined worker; absent: plain. */
  readonly encode?: ((frame: DownFrame | null) => string) | undefined;
}

/** The stream of one gateway process. All decisions are those of `subscriber-state.ts`; this class only does what they say. */
export class Subscriber implements FeedConnection {
  readonly protocol: number;
  readonly region: string;
  readonly #response: ServerResponse;
  readonly #options: SubscriberOptions;
  #state: SubscriberState;
  #window: NodeJS.Timeout | null = null;

  constructor(response: ServerResponse, options: SubscriberOptions) {
    this.protocol = options.hello.protocol;
    this.region = options.hello.region;
    this.#response = response;
    this.#options = options;
    this.#state = initialSubscriberState(this.protocol, options.epoch);
    response.on('close', () => this.#handle({ type: 'gone' }));
  }

  get live(): boolean {
    return this.#state.phase === 'open' || this.#state.phase === 'window';
  }

  get gone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  /** A stretch that was committed after the subscriber was registered. */
  offer(stretch: Stretch): void {
    this.#handle({ type: 'offered', stretch: this.#adapted(stretch), nowMs: this.#options.nowMs() });
  }

  /** It has everything up to `position`, and gets what it missed since; what waited follows, then it is live. */
  goLive(position: Position, missed: readonly Stretch[] = []): void {
    if (position.epoch !== this.#state.epoch) {
      // The tail is about to notice too; what it would hand on belongs to the epoch before.
      this.close();
      return;
    }
    const stretches = missed.map((stretch) => this.#adapted(stretch));
    this.#handle({ type: 'caught-up', rev: position.rev, missed: stretches, nowMs: this.#options.nowMs() });
  }

  /** By an acknowledgement, or by a ping that says what is applied: a full disk must not hold back what is new. */
  acknowledge({ epoch, rev }: Pick<Position, 'epoch' | 'rev'>): void {
    this.#handle({ type: 'acknowledged', epoch, rev });
  }

  /** Writes without waiting; used for what is small or must go out at once. */
  write(frame: DownFrame): void {
    this.#writeLine(this.#encode(frame));
  }

  /** While changes are held back, only a sign of life: the newest revision is not one that it could have. */
  ping(frame: DownFrame): void {
    this.#writeLine(this.#encode(isBehind(this.#state) ? null : frame));
  }

  /** Writes and waits while the subscriber is slow. Throws `SubscriberGone`. */
  async writeSlowly(frame: DownFrame): Promise<void> {
    this.write(frame);
    if (!this.gone && this.#response.writableNeedDrain) await drained(this.#response);
    if (this.gone) throw new SubscriberGone('the subscriber went away during a snapshot');
  }

  command(command: FleetCommand): boolean {
    if (this.protocol < 2 || this.gone) return false;
    this.write({ t: 'command', command });
    return true;
  }

  supersede(): void {
    this.#handle({ type: 'finish', frame: { t: 'superseded' } });
  }

  replace(): void {
    this.close();
  }

  goAway(retryAfterMs: number): void {
    this.#handle({ type: 'finish', frame: { t: 'goaway', retryAfterMs } });
  }

  close(): void {
    this.#response.destroy();
  }

  #handle(event: SubscriberEvent): void {
    const { state, actions } = step(this.#state, event);
    this.#state = state;
    for (const action of actions) this.#act(action);
  }

  #act(action: SubscriberAction): void {
    switch (action.do) {
      case 'write-delta':
        this.write(deltaFrame(action.epoch, action.part, this.protocol));
        break;
      case 'write-deny':
        this.write({ t: 'deny', epoch: action.epoch, rev: action.rev, tokens: action.tokens });
        break;
      case 'arm-window':
        this.#disarm();
        this.#window = setTimeout(
          () => this.#handle({ type: 'window-expired' }),
          this.#options.ackWindowMaxMs ?? ACK_WINDOW_MAX_MS,
        );
        break;
      case 'disarm-window':
        this.#disarm();
        break;
      case 'end':
        if (!this.gone) this.#response.end(this.#encode(action.frame));
        break;
      case 'close':
        this.#options.onClosed?.(action.reason);
        this.close();
        break;
    }
  }

  #writeLine(line: string): void {
    if (this.gone) return;
    this.#response.write(line);
    const backlogBytesMax = this.#options.backlogBytesMax ?? FEED_BACKLOG_BYTES_MAX;
    if (this.#response.writableLength > backlogBytesMax) this.#handle({ type: 'overflow' });
  }

  #encode(frame: DownFrame | null): string {
    return this.#options.encode?.(frame) ?? (frame === null ? '\n' : encodeFrame(frame));
  }

  #disarm(): void {
    if (this.#window !== null) clearTimeout(this.#window);
    this.#window = null;
  }

  #adapted(stretch: Stretch): Stretch {
    const { hello, isRestricted = () => false } = this.#options;
    return { ...stretch, changes: changesFor(hello, stretch.changes, isRestricted) };
  }
}

function deltaFrame(epoch: number, { from, to, changes, head }: Part, protocol: number) {
  const frame = { t: 'delta', epoch, from, to, changes } as const;
  return protocol < 2 || head === null ? frame : { ...frame, head };
}

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
