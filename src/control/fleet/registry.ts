import { isBefore } from '../../feed/codec.ts';
import type { Ack, Hello } from '../../feed/protocol.ts';

/** What the registry needs of the connection behind an entry. */
export interface FeedConnection {
  /** Tell it that a newer session has its gateway id, and end. */
  supersede(): void;
  /** End without a word: the same session has connected again. */
  replace(): void;
}

export interface RegistryEntry {
  readonly hello: Hello;
  readonly connection: FeedConnection;
  /** What it last confirmed to have in force and on disk; null before the first acknowledgement. */
  acked: { readonly epoch: number; readonly rev: number } | null;
}

/** Sessions of one gateway id that are remembered as superseded, the oldest forgotten first. */
const RETIRED_SESSIONS_MAX = 16;

/** The gateway processes that are connected to this control process, by gateway id. In memory: it is true only while they are. */
export class Registry {
  readonly #entries = new Map<string, RegistryEntry>();
  readonly #retired = new Map<string, string[]>();
  readonly #ackListeners = new Set<() => void>();

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
    const entry: RegistryEntry = { hello, connection, acked: null };
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

  /** False: there is no such session now. */
  acknowledge({ gatewayId, session, epoch, rev }: Ack): boolean {
    const entry = this.#entries.get(gatewayId);
    if (entry === undefined || entry.hello.session !== session) return false;
    const acked = { epoch, rev };
    if (entry.acked === null || isBefore(entry.acked, acked)) entry.acked = acked;
    this.#tell();
    return true;
  }

  /** Called after each acknowledgement, arrival and departure. */
  onChange(listener: () => void): () => void {
    this.#ackListeners.add(listener);
    return () => this.#ackListeners.delete(listener);
  }

  #retire(gatewayId: string, session: string): void {
    const sessions = this.#retired.get(gatewayId) ?? [];
    this.#retired.set(gatewayId, [...sessions, session].slice(-RETIRED_SESSIONS_MAX));
  }

  #tell(): void {
    for (const listener of this.#ackListeners) listener();
  }
}
