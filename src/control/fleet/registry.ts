import { isBefore, isConfigurationReport } from '../../feed/codec.ts';
import type { Ack, ConfigurationReport, FleetCommand, Hello, PingRequest } from '../../feed/protocol.ts';
import { type Clock, systemClock } from '../../util/clock.ts';

/** What the registry needs of the connection behind an entry. */
export interface FeedConnection {
  /** Tell it that a newer session has its gateway id, and end. */
  supersede(): void;
  /** End without a word: the same session has connected again. */
  replace(): void;
  /** Hand on what an operator asked. False: it does not understand commands (protocol 1). */
  command?(command: FleetCommand): boolean;
}

export interface RegistryEntry {
  readonly hello: Hello;
  readonly connection: FeedConnection;
  /** What it last confirmed to have in force and on disk; null before the first acknowledgement. */
  acked: { readonly epoch: number; readonly rev: number } | null;
  /** When that moved (monotonic clock of this process); null before the first acknowledgement. */
  ackedAtMs: number | null;
  /** Its newest ping and when that came (monotonic clock of this process); null before the first, and with protocol 1. */
  heard: { readonly atMs: number; readonly ping: PingRequest } | null;
  /** The models and settings that it routes by, as it last said with an acknowledgement or a ping. */
  config: ConfigurationReport | null;
}

/** Sessions of one gateway id that are remembered as superseded, the oldest forgotten first. */
const RETIRED_SESSIONS_MAX = 16;

/** The gateway processes that are connected to this control process, by gateway id. In memory: it is true only while they are. */
export class Registry {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #entries = new Map<string, RegistryEntry>();
  readonly #retired = new Map<string, string[]>();
  readonly #listeners = new Set<() => void>();

  constructor(clock: Pick<Clock, 'monotonicMs'> = systemClock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): Iterable<RegistryEntry> {
    return this.#entries.values();
  }

  /** Null: this session was superseded before and must not come back. */
  claim(hello: Hello, connection: FeedConnection): RegistryEntry | null {
    const { gatewayId, session } = hello;
    if (this.#retired.get(gatewayId)?.includes(session)) return null;
    const older = this.#entries.get(gatewayId);
    const entry: RegistryEntry = { hello, connection, acked: null, ackedAtMs: null, heard: null, config: null };
    this.#entries.set(gatewayId, entry);
    if (older === undefined) return entry;
    if (older.hello.session === session) older.connection.replace();
    else {
      this.#retire(gatewayId, older.hello.session);
      older.connection.supersede();
    }
    this.#tell();
    return entry;
  }

  /** Nothing happens when another connection has taken the gateway id since. */
  release(entry: RegistryEntry): void {
    if (this.#entries.get(entry.hello.gatewayId) !== entry) return;
    this.#entries.delete(entry.hello.gatewayId);
    this.#tell();
  }

  /** The entry of a session that is connected now, or null. */
  find({ gatewayId, session }: Pick<Hello, 'gatewayId' | 'session'>): RegistryEntry | null {
    const entry = this.#entries.get(gatewayId);
    return entry === undefined || entry.hello.session !== session ? null : entry;
  }

  /** False: there is no such session now. */
  acknowledge(ack: Ack): boolean {
    const entry = this.find(ack);
    if (entry === null) return false;
    const acked = { epoch: ack.epoch, rev: ack.rev };
    if (entry.acked === null || isBefore(entry.acked, acked)) {
      entry.acked = acked;
      entry.ackedAtMs = this.#clock.monotonicMs();
    }
    if (ack.config !== undefined) entry.config = ack.config;
    this.#tell();
    return true;
  }

  /** False: there is no such session now. Nobody is told: pings come each second, and what they say is looked up. */
  heard(ping: PingRequest): boolean {
    const entry = this.find(ping);
    if (entry === null) return false;
    entry.heard = { atMs: this.#clock.monotonicMs(), ping };
    // The one field of `stats` that is read here; what is wrong in there is not worth losing a heartbeat for.
    if (isConfigurationReport(ping.stats.config)) entry.config = ping.stats.config;
    return true;
  }

  /** Called after each acknowledgement, arrival and departure. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #retire(gatewayId: string, session: string): void {
    const sessions = this.#retired.get(gatewayId) ?? [];
    this.#retired.set(gatewayId, [...sessions, session].slice(-RETIRED_SESSIONS_MAX));
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
