/**
 * The witness of the fence over a restart: one small file in the slot directory, written again and again beside the request path. It says
 * "everything that was committed more than `ageMs` ago is contained in (`epoch`, `rev`)", as of a reading of the clocks that another process
 * can compare with its own. That is a statement about the history and not about the process, so it holds for whoever has that revision.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Position } from '../../domain/change.ts';
import type { Log } from '../../observe/log.ts';
import type { BootReading } from '../../util/boot-clock.ts';
import { CLOCK_DISAGREEMENT_MAX_MS } from '../../util/elapsed-clock.ts';
import { FrameBuffer, scanFrames } from './checked-frames.ts';
import type { Witness } from './freshness.ts';

export const WITNESS_FILE = 'witness';
export const WITNESS_FORMAT = 1;

export interface WitnessRecord extends Position, BootReading {
  readonly format: number;
  /** Age of the witness at that reading of the clocks. */
  readonly ageMs: number;
  readonly certain: boolean;
}

export interface WitnessAge {
  readonly ageMs: number;
  readonly certain: boolean;
}

/** Two clocks drift apart, at most at the rate at which NTP slews one: 500 ppm. */
const DRIFT_MAX = 0.001;

/**
 * How old the witness is now. Within one boot the monotonic clock says it; across a reboot the wall clock does. Where the wall clock was set
 * back, or the two disagree, the larger of what can be said is taken, and it is not certain.
 */
export function witnessAge(record: WitnessRecord, now: BootReading): WitnessAge {
  const wallMs = now.wallMs - record.wallMs;
  const monotonicMs = now.monotonicMs - record.monotonicMs;
  if (record.bootId !== null && record.bootId === now.bootId && monotonicMs >= 0) {
    const allowedMs = CLOCK_DISAGREEMENT_MAX_MS + monotonicMs * DRIFT_MAX;
    const aheadMs = wallMs - monotonicMs;
    return {
      ageMs: record.ageMs + (aheadMs > allowedMs ? wallMs : monotonicMs),
      certain: record.certain && Math.abs(aheadMs) <= allowedMs,
    };
  }
  return { ageMs: record.ageMs + Math.max(0, wallMs), certain: record.certain && wallMs >= 0 };
}

/** The best witness in these directories for a process that has `position`; see `bestWitness`. */
export function restoreWitness(
  directories: readonly string[],
  position: Position | null,
  nowMs: number,
  now: BootReading,
): Witness | null {
  if (position === null) return null;
  const records = directories.map((directory) => readWitnessFile(join(directory, WITNESS_FILE)));
  return bestWitness(
    records.filter((record) => record !== null),
    position,
    nowMs,
    now,
  );
}

/**
 * A record of a revision that `position` does not contain counts for nothing: what was applied then may not have reached the disk. `nowMs`, on
 * the clock of the result, is read before `now`: what passes between the two makes the witness older, never younger. Null: none.
 */
export function bestWitness(
  records: readonly WitnessRecord[],
  position: Position,
  nowMs: number,
  now: BootReading,
): Witness | null {
  let best: Witness | null = null;
  for (const record of records) {
    if (!contains(position, record)) continue;
    const { ageMs, certain } = witnessAge(record, now);
    const witness = { epoch: record.epoch, rev: record.rev, atMs: nowMs - ageMs, certain };
    if (best === null || isBetter(witness, best)) best = witness;
  }
  return best;
}

/** Null when there is none, or one that does not check out. */
export function readWitnessFile(path: string): WitnessRecord | null {
  try {
    return decodeRecord(readFileSync(path));
  } catch {
    return null;
  }
}

/** Null for what is not one whole record of this format. */
export function decodeRecord(bytes: Buffer): WitnessRecord | null {
  let record: WitnessRecord | null = null;
  const good = scanFrames(bytes, (payload) => {
    record = parseRecord(payload);
    return true;
  });
  return good === bytes.length ? record : null;
}

/** The whole new file or the old one, whatever happens meanwhile. */
export async function writeWitnessFile(path: string, record: WitnessRecord): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(encodeRecord(record));
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

export interface WitnessKeeperOptions {
  readonly directory: string;
  readonly installation: () => string | null;
  readonly witness: () => Witness | null;
  /** The clock of `witness`. */
  readonly nowMs: () => number;
  readonly readBootClock: () => BootReading;
  readonly intervalMs: number;
  readonly log: Log;
}

/** Writes the file while there is something newer to say; one write at a time, and one that fails is made up for by the next. */
export class WitnessKeeper {
  readonly #options: WitnessKeeperOptions;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #written: Witness | null = null;
  #failed = false;

  constructor(options: WitnessKeeperOptions) {
    this.#options = options;
  }

  /**
   * Replaces what an earlier process left by what this one made of it, before anything is served. A record that was refused, or doubted because
   * the clock was set back, would look all right to the next process when enough time has passed.
   */
  begin(): void {
    const { directory, log } = this.#options;
    const path = join(directory, WITNESS_FILE);
    const current = this.#options.witness();
    const record = current === null ? null : this.#recordOf(current);
    try {
      if (record === null) rmSync(path, { force: true });
      else {
        writeFileSync(`${path}.tmp`, encodeRecord(record), { mode: 0o600, flush: true });
        renameSync(`${path}.tmp`, path);
      }
    } catch (error) {
      log.error({ error, directory }, CAN_NOT_WRITE);
    }
  }

  run(): void {
    this.#timer = setInterval(() => this.keep(), this.#options.intervalMs);
    this.#timer.unref();
  }

  /** Out of turn when nothing is kept yet: a process that is killed in its first seconds has a witness to leave, too. */
  keepFirst(): void {
    if (this.#written === null) this.keep();
  }

  /** Keeps the newest witness now, unless a write is under way. */
  keep(): void {
    if (this.#writing !== null) return;
    const { directory, log } = this.#options;
    const current = this.#options.witness();
    if (current === null || !this.#isNews(current)) return;
    const record = this.#recordOf(current);
    if (record === null) return;
    this.#writing = writeWitnessFile(join(directory, WITNESS_FILE), record)
      .then(
        () => {
          this.#written = current;
          this.#failed = false;
        },
        (error: unknown) => {
          // Once per outage of the disk: the interval may be a quarter of a second.
          if (!this.#failed) log.error({ error, directory }, CAN_NOT_WRITE);
          this.#failed = true;
        },
      )
      .finally(() => {
        this.#writing = null;
      });
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#writing;
    this.keep();
    await this.#writing;
  }

  #recordOf(current: Witness): WitnessRecord | null {
    const { installation, nowMs, readBootClock } = this.#options;
    const history = installation();
    if (history === null) return null;
    return {
      format: WITNESS_FORMAT,
      installation: history,
      epoch: current.epoch,
      rev: current.rev,
      // Read before the age: what passes between the two makes it older, never younger.
      ...readBootClock(),
      ageMs: nowMs() - current.atMs,
      certain: current.certain,
    };
  }

  /** A witness that lost its certainty is news, too: the file must not say otherwise. */
  #isNews(current: Witness): boolean {
    const written = this.#written;
    return written === null || current.atMs > written.atMs || current.certain !== written.certain;
  }
}

const CAN_NOT_WRITE =
  'The age of what is known could not be written to disk; a restart will take it for older than it is';

function encodeRecord(record: WitnessRecord): Buffer {
  const frames = new FrameBuffer();
  frames.append(JSON.stringify(record));
  return frames.view();
}

function parseRecord(payload: Buffer): WitnessRecord | null {
  let value: Partial<WitnessRecord>;
  try {
    value = JSON.parse(payload.toString('utf8')) as Partial<WitnessRecord>;
  } catch {
    return null;
  }
  const numbers = [value.epoch, value.rev, value.monotonicMs, value.wallMs, value.ageMs];
  const isRecord =
    value.format === WITNESS_FORMAT &&
    typeof value.installation === 'string' &&
    (value.bootId === null || typeof value.bootId === 'string') &&
    numbers.every((number) => typeof number === 'number' && Number.isFinite(number)) &&
    typeof value.certain === 'boolean';
  return isRecord ? (value as WitnessRecord) : null;
}

function contains(position: Position, record: WitnessRecord): boolean {
  return record.installation === position.installation && record.epoch === position.epoch && record.rev <= position.rev;
}

/** One that is certain serves both classes of keys. */
function isBetter(a: Witness, b: Witness): boolean {
  return a.certain === b.certain ? a.atMs > b.atMs : a.certain;
}
