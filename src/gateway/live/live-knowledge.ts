import type { Account, AccountKind } from '../../domain/account.ts';
import type { Position } from '../../domain/change.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { FENCE_MS, type FenceTimes } from '../../domain/fence.ts';
import type { FenceClass, KeyDigest } from '../../domain/virtual-key.ts';
import { type Echo, Freshness, type Witness } from './freshness.ts';
import type { KeyEntry, Knowledge } from './knowledge.ts';
import type { PrincipalStore } from './principal-store.ts';

/** What is asked of an `ElapsedClock`; tests give less. */
export interface KnowledgeClock {
  monotonicMs(): number;
  /** `monotonicMs` of the last reading that found wall and monotonic clock in disagreement. */
  readonly disagreedAtMs?: number;
}

export interface LiveKnowledgeOptions {
  readonly fences?: FenceTimes;
  /** The witness that an earlier process left, if the store has reached its revision. */
  readonly restored?: Witness | null;
}

/** What the request path knows: the store of the feed client, how old it is, and the configuration of this instance. */
export class LiveKnowledge implements Knowledge {
  /** Swapped whole by the composition root when `config.yaml` is read again. */
  configuration: Configuration;
  readonly fences: FenceTimes;
  /** Called when knowledge has changed or was dated again, with the time of the read that it is proved to contain; -∞: none yet. */
  onDated: (readAtMs: number) => void = () => {};
  /** Called with each ping from above: the feed is alive. */
  onConfirmed: () => void = () => {};
  readonly #store: PrincipalStore;
  readonly #clock: KnowledgeClock;
  readonly #freshness: Freshness;
  #disagreedAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    store: PrincipalStore,
    configuration: Configuration,
    clock: KnowledgeClock,
    { fences = FENCE_MS, restored = null }: LiveKnowledgeOptions = {},
  ) {
    this.#store = store;
    this.configuration = configuration;
    this.#clock = clock;
    this.fences = fences;
    this.#freshness = new Freshness(store.position, restored);
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

  account(kind: AccountKind, id: string): Account | undefined {
    return this.#store.account(kind, id);
  }

  get accountsVersion(): number {
    return this.#store.accountsVersion;
  }

  /** Called when the position of the store has moved, behind the move. */
  applied(): void {
    this.#follow();
    this.#dated();
  }

  /** Called with what a ping of this process brought back. */
  answered(echo: Echo): void {
    this.nowMs();
    this.#follow();
    this.#freshness.answered(echo);
    this.#dated();
  }

  /**
   * Called by the feed client for a ping from above whose revision has been applied: all that a control process of protocol 1 offers, and a
   * first date right after connecting.
   */
  confirm(receivedAtMs: number, dbAgeMs: number): void {
    this.#freshness.confirmed(receivedAtMs - dbAgeMs);
    this.onConfirmed();
  }

  ageMs(): number {
    const { readAtMs } = this.#freshness;
    return readAtMs === null ? Number.POSITIVE_INFINITY : this.nowMs() - readAtMs;
  }

  stalenessMs(fence: FenceClass): number {
    return this.#freshness.stalenessMs(fence, this.nowMs());
  }

  get witness(): Witness | null {
    return this.#freshness.witness;
  }

  /** The clock of all times in here. What it finds out about itself is passed on before anything is measured with it. */
  nowMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const { disagreedAtMs } = this.#clock;
    if (disagreedAtMs !== undefined && disagreedAtMs !== this.#disagreedAtMs) {
      this.#disagreedAtMs = disagreedAtMs;
      this.#freshness.disagreed(disagreedAtMs);
    }
    return nowMs;
  }

  #follow(): void {
    const { position } = this.#store;
    if (position !== null) this.#freshness.applied(position);
  }

  #dated(): void {
    this.onDated(this.#freshness.provedReadAtMs ?? Number.NEGATIVE_INFINITY);
  }
}
