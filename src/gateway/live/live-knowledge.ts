import type { Position } from '../../domain/change.ts';
import type { Configuration } from '../../domain/configuration.ts';
import type { KeyDigest } from '../../domain/virtual-key.ts';
import type { Clock } from '../../util/clock.ts';
import type { KeyEntry, Knowledge } from './knowledge.ts';
import type { PrincipalStore } from './principal-store.ts';

/** What the request path knows: the store of the feed client, how old it is, and the configuration of this instance. */
export class LiveKnowledge implements Knowledge {
  /** Swapped whole by the composition root when `config.yaml` is read again. */
  configuration: Configuration;
  readonly #store: PrincipalStore;
  readonly #clock: Clock;
  /** Monotonic time at which the database was last read with what is known here, or null. */
  #confirmedAtMs: number | null = null;

  constructor(store: PrincipalStore, configuration: Configuration, clock: Clock) {
    this.#store = store;
    this.configuration = configuration;
    this.#clock = clock;
  }

  get position(): Position | null {
    return this.#store.position;
  }

  get fleetKey(): Buffer | null {
    return this.#store.fleetKey;
  }

  key(digest: KeyDigest): KeyEntry | undefined {
    return this.#store.key(digest);
  }

  isDeleted(digest: KeyDigest): boolean {
    return this.#store.isDeleted(digest);
  }

  /**
   * Called by the feed client for a ping whose revision has been applied. An older confirmation never replaces a younger one:
   * the age of the database's answer may have grown more than the time between two pings.
   */
  confirm(receivedAtMs: number, dbAgeMs: number): void {
    const confirmedAtMs = receivedAtMs - dbAgeMs;
    if (this.#confirmedAtMs === null || confirmedAtMs > this.#confirmedAtMs) this.#confirmedAtMs = confirmedAtMs;
  }

  ageMs(): number {
    return this.#confirmedAtMs === null ? Number.POSITIVE_INFINITY : this.#clock.monotonicMs() - this.#confirmedAtMs;
  }
}
