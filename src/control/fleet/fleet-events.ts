import type { Revision } from '../../domain/change.ts';
import type { Log } from '../../observe/log.ts';
import type { Database } from '../../storage/db.ts';
import { changesAfter, type RecordedChange } from '../../storage/queries/fleet-changes.ts';
import type { ChangeTail } from './change-tail.ts';
import type { GatewayView } from './fleet-view.ts';
import { GATEWAY_STATES, type GatewayState } from './gateway-state.ts';
import type { ReadFleet } from './read-fleet.ts';
import type { Registry } from './registry.ts';

export interface FleetEventsOptions {
  readonly db: Database;
  readonly tail: Pick<ChangeTail, 'position' | 'onStretch'>;
  readonly registry: Pick<Registry, 'onChange' | 'size'>;
  readonly readFleet: ReadFleet;
  readonly presentChange: (change: RecordedChange) => object;
  /** Of this control process since its start; tells its events from those of others. */
  readonly run: string;
  readonly log: Log;
  readonly pollMs?: number;
  readonly heartbeatMs?: number;
  readonly lingerMs?: number;
}

/** One more listener is refused. */
export const EVENT_LISTENERS_MAX = 64;
/** What a listener has not taken; beyond it it is cut off. */
export const EVENT_BACKLOG_BYTES_MAX = 256 * 1024;
/**
 * Events that are kept for listeners who come back; who has missed more starts anew (`reset`). In bytes less than a listener may be behind, so
 * that a replay never cuts off whom it is for.
 */
export const EVENTS_KEPT_MAX = 1_000;
export const EVENTS_KEPT_BYTES_MAX = EVENT_BACKLOG_BYTES_MAX / 2;
/** After the last listener has left, the fleet is followed for so long, in case that it comes back. */
export const EVENT_LINGER_MS = 60_000;
/** Between two looks at the fleet while somebody listens. */
export const EVENT_POLL_MS = 1_000;
/** A comment this often, so that nothing on the way takes the stream for dead. */
export const EVENT_HEARTBEAT_MS = 15_000;
/** After somebody came or left here, the next look comes so soon. */
const HURRY_MS = 50;
const CHANGES_PER_READ_MAX = 200;

/**
 * What happens in the fleet, as server-sent events: `fleet` first (how many gateway processes are in which state), `change` for a committed
 * change, `gateway` for a gateway process that arrived or whose state is another one. Who comes back and says what it heard last hears what
 * it missed, or `reset` when that is not kept here. Nothing is read while nobody listens, but for a while after the last one has left.
 */
export class FleetEvents {
  readonly #options: FleetEventsOptions;
  readonly #listeners = new Set<Listener>();
  /** State of each gateway process when the fleet was last read; null: nobody has listened yet. */
  #states: Map<string, GatewayState> | null = null;
  #told: { readonly epoch: number; readonly rev: Revision } | null = null;
  #poll: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #again = false;
  #heartbeat: NodeJS.Timeout | null = null;
  #stopListening: (() => void)[] = [];
  readonly #kept = new KeptEvents();
  #linger: NodeJS.Timeout | null = null;
  #size = 0;
  #stopped = false;

  constructor(options: FleetEventsOptions) {
    this.#options = options;
  }

  /** `lastEventId`: what the listener heard last, when it was here before. Null: there are too many listeners already. */
  listen(lastEventId: string | null = null): ReadableStream<Uint8Array> | null {
    if (this.#listeners.size >= EVENT_LISTENERS_MAX || this.#stopped) return null;
    const listener = new Listener(() => this.#leave(listener));
    this.#listeners.add(listener);
    listener.write(': connected\n\n');
    if (lastEventId !== null) this.#replay(listener, lastEventId);
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#linger = null;
    if (this.#heartbeat === null) this.#begin();
    else this.#hurry(0);
    return listener.stream;
  }

  stop(): void {
    this.#stopped = true;
    for (const listener of this.#listeners) listener.end();
    this.#end();
  }

  #leave(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0 || this.#stopped) return;
    this.#linger = setTimeout(() => this.#end(), this.#options.lingerMs ?? EVENT_LINGER_MS);
    this.#linger.unref();
  }

  #replay(listener: Listener, lastEventId: string): void {
    const sequence = this.#sequenceOf(lastEventId);
    const missed = sequence === null ? null : this.#kept.since(sequence);
    if (missed === null) {
      const reason =
        sequence === null
          ? 'What was heard last is of another control process, or of this one before it was started again.'
          : 'What happened since is not kept any more.';
      const todo = { reason, read_again: ['/fleet/workers', '/fleet/changes'] };
      listener.write(event('reset', todo, this.#idOf(this.#kept.newest)));
      return;
    }
    for (const text of missed) listener.write(text);
    // It knows the states of the moment it left, and what became of them since.
    listener.greeted = true;
  }

  #idOf(sequence: number): string {
    return `${this.#options.run}/${sequence}`;
  }

  #sequenceOf(id: string): number | null {
    const [, run, sequence] = /^(.+)\/(\d{1,15})$/.exec(id) ?? [];
    return run === this.#options.run ? Number(sequence) : null;
  }

  #begin(): void {
    const { tail, registry, pollMs = EVENT_POLL_MS, heartbeatMs = EVENT_HEARTBEAT_MS } = this.#options;
    this.#told = tail.position;
    this.#states = null;
    this.#size = registry.size;
    this.#stopListening = [
      tail.onStretch(() => this.#hurry(0)),
      registry.onChange(() => {
        if (registry.size === this.#size) return;
        this.#size = registry.size;
        this.#hurry(HURRY_MS);
      }),
    ];
    this.#heartbeat = setInterval(() => this.#write(': \n\n'), heartbeatMs);
    this.#hurry(0, pollMs);
  }

  #end(): void {
    for (const stop of this.#stopListening) stop();
    this.#stopListening = [];
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    if (this.#poll !== null) clearTimeout(this.#poll);
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#heartbeat = null;
    this.#poll = null;
    this.#linger = null;
    // Nobody sees what happens from here on.
    this.#kept.forget();
  }

  #hurry(delayMs: number, pollMs = this.#options.pollMs ?? EVENT_POLL_MS): void {
    if (this.#heartbeat === null) return;
    if (this.#poll !== null) clearTimeout(this.#poll);
    this.#poll = setTimeout(() => {
      this.#poll = null;
      // One look at a time; a hint that comes meanwhile is answered by the next, at once.
      if (this.#reading !== null) {
        this.#again = true;
        return;
      }
      this.#reading = this.#look().finally(() => {
        this.#reading = null;
        const delayMs = this.#again ? 0 : pollMs;
        this.#again = false;
        if (this.#poll === null) this.#hurry(delayMs);
      });
    }, delayMs);
  }

  async #look(): Promise<void> {
    const { log, readFleet } = this.#options;
    try {
      await this.#tellChanges();
      const { workers } = await readFleet();
      this.#tellStates(workers.flatMap((worker) => worker.gateways));
    } catch (error) {
      log.debug({ err: error }, 'the fleet could not be read for those who follow it');
    }
  }

  async #tellChanges(): Promise<void> {
    const { db, tail, presentChange } = this.#options;
    const now = tail.position;
    if (now === null) return;
    const told = this.#told?.epoch === now.epoch ? this.#told : now;
    this.#told = told;
    if (now.rev <= told.rev) return;
    const changes = await db.read((tx) =>
      changesAfter(tx, { epoch: now.epoch, after: told.rev, limit: CHANGES_PER_READ_MAX }),
    );
    for (const change of changes) {
      this.#send('change', presentChange(change));
      this.#told = { epoch: change.epoch, rev: change.rev };
    }
    if (changes.length === CHANGES_PER_READ_MAX) this.#hurry(0);
  }

  #tellStates(gateways: readonly GatewayView[]): void {
    const before = this.#states;
    this.#states = new Map(gateways.map(({ row, state }) => [row.gatewayId, state]));
    for (const { row, state } of before === null ? [] : gateways) {
      const was = before?.get(row.gatewayId) ?? null;
      if (was === state) continue;
      const { gatewayId: gateway, instanceId: worker, region } = row;
      this.#send('gateway', { gateway, worker, region, state, was });
    }
    this.#greet(gateways);
  }

  /** From here on a listener hears of everything. */
  #greet(gateways: readonly GatewayView[]): void {
    const strangers = [...this.#listeners].filter((listener) => !listener.greeted);
    if (strangers.length === 0) return;
    const counts = Object.fromEntries(GATEWAY_STATES.map((state) => [state, 0])) as Record<GatewayState, number>;
    for (const { state } of gateways) counts[state]++;
    const { epoch = 0, rev = 0 } = this.#told ?? {};
    const text = event('fleet', { head: { epoch, rev }, gateways: counts }, this.#idOf(this.#kept.newest));
    for (const listener of strangers) {
      listener.greeted = true;
      listener.write(text);
    }
  }

  #send(name: string, data: object): void {
    const text = event(name, data, this.#idOf(this.#kept.newest + 1));
    this.#kept.add(text);
    this.#write(text);
  }

  #write(text: string): void {
    for (const listener of this.#listeners) listener.write(text);
  }
}

/** The newest events, oldest first, numbered from 1. Bounded by `EVENTS_KEPT_MAX` and `EVENTS_KEPT_BYTES_MAX`. */
class KeptEvents {
  #texts: string[] = [];
  #bytes = 0;
  #newest = 0;

  /** Number of the newest event, whether or not it is still kept. */
  get newest(): number {
    return this.#newest;
  }

  add(text: string): void {
    this.#newest++;
    this.#texts.push(text);
    this.#bytes += Buffer.byteLength(text);
    while (this.#texts.length > EVENTS_KEPT_MAX || this.#bytes > EVENTS_KEPT_BYTES_MAX) {
      this.#bytes -= Buffer.byteLength(this.#texts.shift()!);
    }
  }

  /** Those behind `sequence`; null: not all of them are kept. */
  since(sequence: number): readonly string[] | null {
    const missed = this.#newest - sequence;
    if (missed < 0 || missed > this.#texts.length) return null;
    return missed === 0 ? [] : this.#texts.slice(-missed);
  }

  /** There is a gap from here on. */
  forget(): void {
    this.#texts = [];
    this.#bytes = 0;
    this.#newest++;
  }
}

/** One stream. What is not taken is bounded by `EVENT_BACKLOG_BYTES_MAX`. */
class Listener {
  greeted = false;
  readonly stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly #onEnd: () => void;
  #ended = false;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        cancel: () => this.#leave(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: EVENT_BACKLOG_BYTES_MAX }),
    );
  }

  write(text: string): void {
    if (this.#ended) return;
    const bytes = encoder.encode(text);
    if ((this.#controller.desiredSize ?? 0) < bytes.length) this.end();
    else this.#controller.enqueue(bytes);
  }

  end(): void {
    if (this.#ended) return;
    this.#controller.close();
    this.#leave();
  }

  #leave(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
  }
}

const encoder = new TextEncoder();

function event(name: string, data: object, id: string): string {
  return `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
