/**
 * What was denied ahead of its delta, on disk: a process that is killed between the two refuses it from its next start on. Frames as in a delta
 * log, in one file per slot: which installation it is of, then `deny` frames as they came. It is gone while nothing is ahead.
 */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { denialName } from '../../domain/account.ts';
import type { Change, Position, Revision } from '../../domain/change.ts';
import { parseDownFrame } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import { FrameBuffer, scanFrames } from './checked-frames.ts';
import type { DeltaLogFs } from './delta-log.ts';
import type { PrincipalStore } from './principal-store.ts';

export type Denial = Omit<Extract<DownFrame, { t: 'deny' }>, 't'>;

export interface DenialLogOptions {
  /** The slot directory. */
  readonly directory: string;
  readonly store: PrincipalStore;
  readonly log: Log;
  readonly fs: DeltaLogFs;
}

export const DENIAL_LOG_NAME = 'denials.log';
export const DENIAL_LOG_FORMAT = 1;
/** Keys that are denied ahead of their delta; of more, the process that heard them refuses them and its successor learns them from the feed. */
export const DENIALS_AHEAD_MAX = 100_000;
/** A longer file is written anew, without what has been caught up on. */
export const DENIAL_LOG_BYTES_MAX = 16 * 1024 * 1024;

/** Refuses what is denied until the revision of the denial is applied, and remembers it until that is on disk. */
export class DenialLog {
  readonly #options: DenialLogOptions;
  readonly #path: string;
  readonly #frames = new FrameBuffer();
  /** The newest denial of each key, of one epoch. */
  readonly #ahead = new Map<string, Revision>();
  #epoch = 0;
  #installation = '';
  #fd: number | null = null;
  #bytes = 0;
  #failed = false;
  #full = false;

  constructor(options: DenialLogOptions) {
    this.#options = options;
    this.#path = join(options.directory, DENIAL_LOG_NAME);
  }

  /** Called when the store has been restored: refuses what was denied beyond its position, by the files of these directories. */
  restore(directories: readonly string[] = [this.#options.directory]): void {
    const { position } = this.#options.store;
    this.#forgetAll();
    if (position === null) return;
    for (const directory of directories) {
      for (const denial of readDenials(join(directory, DENIAL_LOG_NAME), position)) this.#note(denial);
    }
    this.#options.store.deny([...this.#ahead.keys()]);
    if (this.#ahead.size > 0) this.#writeAnew();
    else if (directories.includes(this.#options.directory)) rmSync(this.#path, { force: true });
  }

  /** Of the epoch of the store, and ahead of its revision. In force first, on disk second. */
  append(denial: Denial): void {
    const { store } = this.#options;
    store.deny(denial.tokens);
    const tokens = this.#note(denial);
    if (tokens.length === 0) return;
    if (this.#fd === null || this.#failed || this.#bytes > DENIAL_LOG_BYTES_MAX) this.#writeAnew();
    else this.#attempt(() => this.#write([JSON.stringify({ t: 'deny', ...denial, tokens })]));
  }

  /** Called behind each delta and, without changes, behind a snapshot: what lies before a denial can not lift it. */
  applied(position: Position, changes: readonly Change[] | null): void {
    if (this.#ahead.size === 0 || position.epoch !== this.#epoch) return;
    const isAhead = (token: string): boolean => (this.#ahead.get(token) ?? 0) > position.rev;
    const again = (changes === null ? [...this.#ahead.keys()] : changes.map(denialName)).filter(isAhead);
    if (again.length > 0) this.#options.store.deny(again);
  }

  /** What a start would boot from contains what was denied up to there. */
  persisted({ epoch, rev }: Position): void {
    if (this.#ahead.size === 0) return;
    for (const [token, deniedRev] of this.#ahead) {
      if (epoch > this.#epoch || deniedRev <= rev) this.#ahead.delete(token);
    }
    if (this.#ahead.size === 0) this.#forgetAll();
    else if (this.#failed) this.#writeAnew();
  }

  close(): void {
    if (this.#fd !== null) this.#options.fs.closeSync(this.#fd);
    this.#fd = null;
  }

  /** The tokens that it says something new of. */
  #note({ epoch, rev, tokens }: Denial): string[] {
    if (epoch !== this.#epoch) this.#ahead.clear();
    this.#epoch = epoch;
    const fresh: string[] = [];
    for (const token of tokens) {
      const known = this.#ahead.get(token);
      if (known !== undefined && known >= rev) continue;
      if (known === undefined && this.#ahead.size >= DENIALS_AHEAD_MAX) {
        if (!this.#full) this.#options.log.error({ kept: DENIALS_AHEAD_MAX }, TOO_MANY);
        this.#full = true;
        break;
      }
      this.#ahead.set(token, rev);
      fresh.push(token);
    }
    return fresh;
  }

  #forgetAll(): void {
    this.#ahead.clear();
    this.#full = false;
    this.#failed = false;
    if (this.#fd === null) return;
    this.close();
    rmSync(this.#path, { force: true });
  }

  /** Beside the file that is there, which counts until the new one is complete. */
  #writeAnew(): void {
    const { fs, store } = this.#options;
    this.close();
    this.#installation = store.position?.installation ?? this.#installation;
    const byRevision = new Map<Revision, string[]>();
    for (const [token, rev] of this.#ahead) {
      const tokens = byRevision.get(rev) ?? [];
      tokens.push(token);
      byRevision.set(rev, tokens);
    }
    this.#attempt(() => {
      const temporary = `${this.#path}.tmp`;
      this.#fd = fs.openSync(temporary, 'w', 0o600);
      this.#bytes = 0;
      this.#write([
        JSON.stringify({ format: DENIAL_LOG_FORMAT, installation: this.#installation }),
        ...[...byRevision].map(([rev, tokens]) => JSON.stringify({ t: 'deny', epoch: this.#epoch, rev, tokens })),
      ]);
      renameSync(temporary, this.#path);
    });
  }

  #attempt(write: () => void): void {
    try {
      write();
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#options.log.error({ error, path: this.#path }, NOT_WRITTEN);
      this.#failed = true;
    }
  }

  #write(payloads: readonly string[]): void {
    const { fs } = this.#options;
    this.#frames.clear();
    for (const payload of payloads) this.#frames.append(payload);
    const bytes = this.#frames.view();
    for (let done = 0; done < bytes.length; ) {
      done += fs.writeSync(this.#fd!, bytes, done, bytes.length - done, this.#bytes + done);
    }
    this.#bytes += bytes.length;
  }
}

/** What the good part of a file denies beyond a position; nothing when there is none, or it is of another installation. */
function readDenials(path: string, { installation, epoch, rev }: Position): Denial[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return [];
  }
  const denials: Denial[] = [];
  let isOurs = false;
  scanFrames(bytes, (payload) => {
    try {
      const text = payload.toString('utf8');
      if (!isOurs) {
        const head = JSON.parse(text) as { format: unknown; installation: unknown };
        isOurs = head.format === DENIAL_LOG_FORMAT && head.installation === installation;
        return isOurs;
      }
      const frame = parseDownFrame(text);
      if (frame?.t !== 'deny') return false;
      if (frame.epoch === epoch && frame.rev > rev) denials.push(frame);
      return true;
    } catch {
      // Of another version, which ends the file as damage does.
      return false;
    }
  });
  return denials;
}

const NOT_WRITTEN =
  'What is denied ahead of its change is refused, but could not be written to disk; with the next one it is tried again';
const TOO_MANY =
  'More keys are denied ahead of their changes than are kept on disk; they are refused until this process ends, or their changes come';
