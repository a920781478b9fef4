import type { Position } from '../../domain/change.ts';
import type { MirrorState } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import type { SnapshotMirror } from './snapshot-mirror.ts';

/** The mirror is at most so much older than what is on disk here. */
export const MIRROR_INTERVAL_MS = 30_000;

export interface MirrorKeeperOptions {
  readonly mirror: SnapshotMirror;
  readonly slotDir: string;
  /** What snapshot and deltas on disk lead to, or null. */
  readonly position: () => Position | null;
  /** Wall clock of the newest witness, or null. */
  readonly witnessAtMs: () => number | null;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
  readonly intervalMs?: number;
}

/** Copies what is on disk to the mirror now and then. A mirror that can not be written costs a line in the log and nothing else. */
export class MirrorKeeper {
  readonly #options: MirrorKeeperOptions;
  #timer: NodeJS.Timeout | null = null;
  #copying: Promise<void> | null = null;
  #writtenAtMs: number | null = null;
  #failure: string | null = null;

  constructor(options: MirrorKeeperOptions) {
    this.#options = options;
  }

  /** For people; null: it writes none. */
  get state(): MirrorState | null {
    const { clock, mirror } = this.#options;
    if (!mirror.isWritable) return null;
    const writtenAtMs = this.#writtenAtMs;
    return {
      writtenAgeMs: writtenAtMs === null ? null : Math.round(clock.monotonicMs() - writtenAtMs),
      failure: this.#failure,
    };
  }

  run(): void {
    if (!this.#options.mirror.isWritable) return;
    this.#timer = setInterval(() => this.#copy(), this.#options.intervalMs ?? MIRROR_INTERVAL_MS);
    this.#timer.unref();
  }

  /** The last state goes there too. */
  async close(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    await this.#copying;
    this.#copy();
    await this.#copying;
  }

  #copy(): void {
    const { clock, mirror, position, slotDir, witnessAtMs, log } = this.#options;
    const at = position();
    if (at === null || this.#copying !== null) return;
    this.#copying = mirror
      .publish(slotDir, at, witnessAtMs())
      .then(
        () => {
          if (this.#failure !== null) log.info({}, 'The snapshot mirror is written again');
          this.#failure = null;
          this.#writtenAtMs = clock.monotonicMs();
        },
        (error: unknown) => {
          if (this.#failure === null)
            log.warn({ error }, 'The snapshot mirror could not be written; it is tried again');
          this.#failure = error instanceof Error ? error.message : String(error);
        },
      )
      .finally(() => {
        this.#copying = null;
      });
  }
}
