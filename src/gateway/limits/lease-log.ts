import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LeaseAsk, LeaseReply } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import { FrameBuffer, scanFrames } from '../live/checked-frames.ts';
import type { PotState } from './lease-table.ts';

/** The file is begun anew with a checkpoint when it has grown to this. */
export const LEASE_LOG_BYTES_MAX = 4 * 1024 * 1024;

/** An ask without what the client adds each time it is sent. */
export type NumberedAsk = Pick<LeaseAsk, 'ask' | 'wishes' | 'returns' | 'starters' | 'declares'>;

export interface LeaseCheckpoint {
  readonly incarnation: string;
  /** Of the machine; where it differs, the last writes before it may be missing. */
  readonly bootId: string | null;
  /** Number of the last ask whose reply is contained. */
  readonly ask: number;
  /** `usedNano` of the pots contains every settlement up to this number of the usage log. */
  readonly usageSeq: number;
  readonly wallMs: number;
  /** Times on the wall clock. */
  readonly pots: readonly PotState[];
}

/** An ask and what became of it; null: its reply never came. */
export interface LoggedAsk {
  readonly ask: NumberedAsk;
  readonly reply: { readonly reply: LeaseReply; readonly wallMs: number } | null;
}

export interface RecoveredLeases {
  readonly checkpoint: LeaseCheckpoint;
  readonly asks: readonly LoggedAsk[];
}

type Frame =
  | { readonly checkpoint: LeaseCheckpoint }
  | { readonly ask: NumberedAsk }
  | { readonly reply: LeaseReply; readonly n: number; readonly wallMs: number };

/**
 * What a gateway process holds of budgets, on disk: `leases.log` in its slot directory. A checkpoint, then asks before they are sent and replies
 * before they are used. What is written survives the end of the process; an ask that gives money back is also synced, because spending what was
 * returned would be spending it twice.
 */
export class LeaseLog {
  readonly #path: string;
  readonly #frames = new FrameBuffer();
  #fd: number | null = null;
  #length = 0;
  /** The file holds returns, which a checkpoint takes over. */
  #holdsReturns = false;

  constructor(directory: string) {
    this.#path = join(directory, 'leases.log');
  }

  get isLarge(): boolean {
    return this.#length > LEASE_LOG_BYTES_MAX;
  }

  /** Null: nothing usable is there. */
  recover(log: Log): RecoveredLeases | null {
    rmSync(`${this.#path}.tmp`, { force: true });
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.#path);
    } catch {
      return null;
    }
    let checkpoint: LeaseCheckpoint | null = null;
    const asks: { ask: NumberedAsk; reply: LoggedAsk['reply'] }[] = [];
    const good = scanFrames(bytes, (payload) => {
      const frame = JSON.parse(payload.toString('utf8')) as Frame;
      if ('checkpoint' in frame) checkpoint = frame.checkpoint;
      else if ('ask' in frame) asks.push({ ask: frame.ask, reply: null });
      else {
        const asked = asks.at(-1);
        if (asked !== undefined && asked.ask.ask === frame.n)
          asked.reply = { reply: frame.reply, wallMs: frame.wallMs };
      }
      return true;
    });
    if (good < bytes.length)
      log.warn({ file: this.#path, goodBytes: good }, 'leases.log has an unfinished end, which is ignored');
    return checkpoint === null ? null : { checkpoint, asks };
  }

  /** Begins the file anew. Nothing of the old one is needed any more when this returns. */
  checkpoint(checkpoint: LeaseCheckpoint, openAsk: NumberedAsk | null): void {
    this.#frames.append(JSON.stringify({ checkpoint } satisfies Frame));
    if (openAsk !== null) this.#frames.append(JSON.stringify({ ask: openAsk } satisfies Frame));
    const fd = openSync(`${this.#path}.tmp`, 'w', 0o600);
    try {
      this.#write(fd);
      // What was given back is contained, and must not be forgotten.
      if (this.#holdsReturns) fsyncSync(fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    renameSync(`${this.#path}.tmp`, this.#path);
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = fd;
    this.#holdsReturns = false;
  }

  /** Before the ask is sent. */
  ask(ask: NumberedAsk): void {
    this.#frames.append(JSON.stringify({ ask } satisfies Frame));
    this.#append();
    if (ask.returns.length === 0) return;
    fsyncSync(this.#fd!);
    this.#holdsReturns = true;
  }

  /** Before anything of the reply is used. */
  reply(n: number, reply: LeaseReply, wallMs: number): void {
    this.#frames.append(JSON.stringify({ reply, n, wallMs } satisfies Frame));
    this.#append();
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #append(): void {
    if (this.#fd === null) throw new Error('leases.log has no checkpoint yet');
    this.#write(this.#fd);
  }

  #write(fd: number): void {
    const bytes = this.#frames.view();
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      this.#length = fd === this.#fd ? this.#length + bytes.length : bytes.length;
    } finally {
      this.#frames.clear();
    }
  }
}
