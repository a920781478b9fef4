import type { Change, Position } from '../../domain/change.ts';
import { DownFrameDecoder, FEED_LINE_BYTES_MAX } from '../../feed/codec.ts';
import {
  type Ack,
  type ConfigurationReport,
  FEED_PROTOCOL,
  FEED_SILENCE_MAX_MS,
  type FleetCommand,
  type Hello,
} from '../../feed/protocol.ts';
import type { LineReader } from '../../feed/signed-line.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import { backOffMs } from './back-off.ts';
import { type FeedAction, type FeedEvent, type FeedState, initialFeedState, step } from './feed-state.ts';
import type { FeedTransport } from './feed-transport.ts';
import { ForeignInstallationError } from './foreign-installation.ts';
import type { HeldDenials } from './held-denials.ts';
import type { LiveKnowledge } from './live-knowledge.ts';
import type { LocalSnapshots } from './local-snapshots.ts';
import type { PrincipalStore, SnapshotCollector } from './principal-store.ts';

export const FEED_BACK_OFF_MIN_MS = 100;
/** Whoever was cut off for long comes back so much later at most: within the 2 s in which knowledge is current after healing. */
export const FEED_BACK_OFF_MAX_MS = 1_500;
/** An acknowledgement without an answer is given up; the next ping sends it again. */
const ACK_TIMEOUT_MS = 2_000;

/** Who this gateway process is, as it says at hello. */
export type FeedIdentity = Pick<
  Hello,
  'gatewayId' | 'session' | 'region' | 'role' | 'version' | 'publicUrl' | 'startedAtMs'
>;

export interface FeedClientOptions {
  readonly identity: FeedIdentity;
  readonly transport: FeedTransport;
  readonly store: PrincipalStore;
  readonly snapshots: LocalSnapshots;
  readonly knowledge: LiveKnowledge;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** A newer session of this gateway id exists: the process exits. */
  readonly onSuperseded: () => void;
  /** The control plane belongs to another installation than our local state: the process can not run. */
  readonly onForeignInstallation: (error: ForeignInstallationError) => void;
  /** After each snapshot or delta that was applied. */
  readonly onPosition?: (position: Position, cause: 'snapshot' | 'delta') => void;
  /** Right behind each change of the store, before it is on disk or acknowledged. */
  readonly onApplied?: () => void;
  /** `resync` is done here and not handed on. */
  readonly onCommand?: (command: FleetCommand) => void;
  /** Sent with each acknowledgement: the models and settings in force. */
  readonly configReport?: () => ConfigurationReport;
  /** What stays refused when history is replaced. */
  readonly denials?: HeldDenials;
  /** For each stream: what vouches for its lines. Absent: they come from the own instance, and nobody stands in between. */
  readonly lineReader?: (identity: FeedIdentity) => LineReader;
  readonly silenceMaxMs?: number;
  readonly backOffMinMs?: number;
  readonly backOffMaxMs?: number;
}

/**
 * Keeps the principal store up to date from the feed, the local snapshots up to date with the store, and the control plane
 * informed of what is on disk. All decisions are those of `feed-state.ts`; this class only does what they say.
 */
export class FeedClient {
  readonly #options: FeedClientOptions;
  #state: FeedState;
  #connection: { close(): void } | null = null;
  #reader: LineReader | null = null;
  #collector: SnapshotCollector | null = null;
  #silence: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #persisted: Position | null = null;
  #acknowledged: Position | null = null;
  #acknowledging = false;

  /** The store has been restored before, so that the process serves at once, whether or not the control process answers. */
  constructor(options: FeedClientOptions) {
    this.#options = options;
    this.#state = initialFeedState(options.store.position, options.snapshots.isPartial);
    this.#persisted = options.store.position;
    options.snapshots.onPersisted = (position) => {
      this.#persisted = position;
      this.#acknowledge();
    };
  }

  get connected(): boolean {
    return this.#state.phase === 'live';
  }

  run(): void {
    this.#handle({ type: 'start' });
  }

  stop(): void {
    this.#handle({ type: 'stop' });
  }

  #handle(event: FeedEvent): void {
    const { state, actions } = step(this.#state, event);
    this.#state = state;
    for (const action of actions) this.#act(action);
  }

  #act(action: FeedAction): void {
    const { store, snapshots, knowledge, clock, log, onPosition, denials } = this.#options;
    switch (action.do) {
      case 'dial':
        this.#dial(action.have);
        break;
      case 'hang-up':
        this.#hangUp();
        break;
      case 'wait':
        this.#wait(action.attempt, action.atLeastMs);
        break;
      case 'begin-snapshot':
        this.#collector = store.beginSnapshot();
        if (action.newEpoch) denials?.begin();
        break;
      case 'add-keys':
        this.#collector?.addKeys(action.keys);
        denials?.proceed();
        break;
      case 'add-deleted-keys':
        this.#collector?.addDeletedKeys(action.tokens);
        break;
      case 'add-settings':
        this.#collector?.addSettings(action.settings);
        break;
      case 'add-models':
        this.#collector?.addModels(action.models);
        break;
      case 'add-accounts':
        this.#collector?.addAccounts(action.accounts);
        break;
      case 'deny':
        snapshots.deny(action.denial);
        break;
      case 'command':
        this.#options.onCommand?.(action.command);
        break;
      case 'commit-snapshot':
        // Before anything is replaced: whoever has state of another installation can still refuse.
        onPosition?.(action.position, 'snapshot');
        this.#collector?.commit(action.position, action.head);
        this.#collector = null;
        snapshots.denyAgain(null);
        denials?.replaced(action.newEpoch);
        this.#options.onApplied?.();
        snapshots.storeReplaced();
        void this.#reportDenials();
        break;
      case 'apply-delta':
        // In force first, on disk second, acknowledged third.
        store.applyDelta(action.to, action.changes, action.head);
        snapshots.denyAgain(action.changes);
        this.#denialsApplied(action.to, action.changes);
        this.#options.onApplied?.();
        snapshots.appendDelta(action.from, action.to, action.changes);
        onPosition?.(action.to, 'delta');
        break;
      case 'confirm':
        knowledge.confirm(clock.monotonicMs(), action.dbAgeMs);
        this.#acknowledge();
        void this.#reportDenials();
        break;
      case 'report':
        log[action.level]({}, action.message);
        break;
      case 'foreign-installation':
        this.#options.onForeignInstallation(
          new ForeignInstallationError('The local state of this gateway', action.local, action.other),
        );
        break;
      case 'superseded':
        this.#options.onSuperseded();
        break;
    }
  }

  /** What the control plane has taken over, and is in force here, needs not be held any more. */
  #denialsApplied(position: Position, changes: readonly Change[]): void {
    if (this.#options.denials?.applied(position, changes) !== 'lifted') return;
    // Somebody has allowed some of them since; how they are now is in a snapshot.
    queueMicrotask(() => this.#handle({ type: 'frame', frame: { t: 'command', command: 'resync' } }));
  }

  async #reportDenials(): Promise<void> {
    const { denials } = this.#options;
    const have = this.#state.have;
    if (denials === undefined || denials.size === 0 || have === null || this.#state.phase !== 'live') return;
    await denials.report(have.epoch);
    // It may have been applied before the answer came.
    if (this.#state.have !== null) this.#denialsApplied(this.#state.have, []);
  }

  #dial(have: Position | null): void {
    const head = have === null ? null : this.#options.store.head;
    const { identity, lineReader } = this.#options;
    const reader = lineReader?.(identity) ?? null;
    const { sessionKey } = reader ?? {};
    const offer = sessionKey === undefined ? {} : { sessionKey };
    const hello: Hello = { protocol: FEED_PROTOCOL, ...identity, have, head, ...offer };
    const decoder = new DownFrameDecoder(FEED_LINE_BYTES_MAX, reader);
    this.#reader = reader;
    this.#acknowledged = null;
    this.#armSilence();
    this.#connection = this.#options.transport.stream('/feed/v1/stream', JSON.stringify(hello), {
      onOpen: () => this.#handle({ type: 'connected' }),
      onData: (chunk) => {
        this.#silence?.refresh();
        try {
          decoder.push(chunk, (frame) => this.#handle({ type: 'frame', frame }));
        } catch (error) {
          this.#handle({ type: 'lost', reason: (error as Error).message });
        }
      },
      onEnd: (reason) => this.#handle({ type: 'lost', reason }),
    });
  }

  #hangUp(): void {
    if (this.#silence !== null) clearTimeout(this.#silence);
    if (this.#retry !== null) clearTimeout(this.#retry);
    const connection = this.#connection;
    this.#reader?.close?.();
    this.#reader = null;
    this.#silence = null;
    this.#retry = null;
    this.#connection = null;
    this.#collector = null;
    this.#options.denials?.abandon();
    connection?.close();
  }

  #wait(attempt: number, atLeastMs: number): void {
    const { random, backOffMinMs = FEED_BACK_OFF_MIN_MS, backOffMaxMs = FEED_BACK_OFF_MAX_MS } = this.#options;
    const delayMs = atLeastMs + backOffMs(attempt, backOffMinMs, backOffMaxMs, random);
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#handle({ type: 'retry' });
    }, delayMs);
  }

  #armSilence(): void {
    const silenceMaxMs = this.#options.silenceMaxMs ?? FEED_SILENCE_MAX_MS;
    this.#silence = setTimeout(() => {
      this.#handle({ type: 'lost', reason: `nothing came for ${silenceMaxMs} ms` });
    }, silenceMaxMs);
  }

  /** One at a time, always the newest; a failed one goes again with the next ping. */
  #acknowledge(): void {
    const persisted = this.#persisted;
    if (persisted === null || this.#acknowledging || this.#state.phase !== 'live' || persisted === this.#acknowledged) {
      return;
    }
    const { identity, transport, log, configReport } = this.#options;
    const ack: Ack = {
      gatewayId: identity.gatewayId,
      session: identity.session,
      epoch: persisted.epoch,
      rev: persisted.rev,
      ...(configReport === undefined ? {} : { config: configReport() }),
    };
    this.#acknowledging = true;
    transport.post('/feed/v1/ack', JSON.stringify(ack), ACK_TIMEOUT_MS).then(
      ({ status }) => {
        this.#acknowledging = false;
        if (status >= 300) {
          log.debug({ status }, 'An acknowledgement was refused');
          return;
        }
        this.#acknowledged = persisted;
        this.#acknowledge();
      },
      (error: unknown) => {
        this.#acknowledging = false;
        log.debug({ error }, 'An acknowledgement did not arrive');
      },
    );
  }
}
