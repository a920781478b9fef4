import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Position } from '../../domain/change.ts';
import type { PingRequest } from '../../feed/protocol.ts';
import { DatabaseUnavailable } from '../../storage/db.ts';
import { createAnswerPing, READS_MAX } from './answer-ping.ts';
import type { Beat } from './heartbeat.ts';

const position = (rev: number): Position => ({ installation: 'i', epoch: 1, rev });
const ping = (fresh = false): PingRequest => ({ sentAtMs: 123, fresh }) as PingRequest;

/** A control process: what it has read, and what the database says when it is asked. */
class Control {
  nowMs = 10_000;
  position: Position | null = position(7);
  readAtMs = 9_900;
  witness: Beat | null | 'reads' = { epoch: 1, rev: 6, readAtMs: 8_000 };
  connected = 1;
  reads = 0;
  /** As `ChangeTail.readNow`. */
  read: () => Promise<void> = async () => {
    this.readAtMs = this.nowMs;
  };

  start() {
    const control = this;
    return createAnswerPing({
      tail: {
        get position() {
          return control.position;
        },
        dbAgeMs: () => control.nowMs - control.readAtMs,
        readNow: () => {
          control.reads++;
          return control.read();
        },
      },
      witness: () => control.witness,
      clock: { nowMs: () => 1.7e12, monotonicMs: () => control.nowMs },
      connectedCount: () => control.connected,
    });
  }
}

describe('a ping', () => {
  it('is answered with the ages of that moment, without the database', async () => {
    const control = new Control();
    const answer = control.start();
    expect(await answer(ping())).toEqual({
      sentAtMs: 123,
      epoch: 1,
      rev: 7,
      dbAgeMs: 100,
      witnessRev: 6,
      witnessAgeMs: 2_000,
      serverTimeMs: 1.7e12,
      intervalMs: 5,
    });
    control.nowMs += 60_000;
    expect(await answer(ping())).toMatchObject({ dbAgeMs: 60_100, witnessAgeMs: 62_000 });
    expect(control.reads).toBe(0);
  });

  it('proves nothing without a committed write of the same history', async () => {
    const control = new Control();
    const answer = control.start();
    control.witness = null;
    expect((await answer(ping())).witnessAgeMs).toBe(Number.MAX_SAFE_INTEGER);
    control.witness = { epoch: 2, rev: 6, readAtMs: 9_999 };
    expect((await answer(ping())).witnessAgeMs).toBe(Number.MAX_SAFE_INTEGER);
    control.witness = 'reads';
    expect(await answer(ping())).toMatchObject({ witnessRev: 7, witnessAgeMs: 100 });
  });

  it('is no answer before the database was reached', async () => {
    const control = new Control();
    control.position = null;
    await expect(control.start()(ping())).rejects.toThrow(DatabaseUnavailable);
  });

  it('asks for fewer of them when many are connected: 200 per second in all', async () => {
    const control = new Control();
    control.connected = 1_000;
    expect((await control.start()(ping())).intervalMs).toBe(5_000);
  });
});

describe('a fresh ping', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is answered from a read that began after it came, with what that found', async () => {
    const control = new Control();
    control.read = async () => {
      control.readAtMs = control.nowMs;
      control.nowMs += 30;
      control.position = position(8);
    };
    expect(await control.start()(ping(true))).toMatchObject({ rev: 8, dbAgeMs: 30 });
  });

  it('is not answered when the database is not', async () => {
    const control = new Control();
    const answer = control.start();
    control.read = () => Promise.reject(new DatabaseUnavailable('away'));
    await expect(answer(ping(true))).rejects.toThrow(DatabaseUnavailable);
    // It came back and confirmed nothing.
    control.read = async () => {};
    await expect(answer(ping(true))).rejects.toThrow(DatabaseUnavailable);
    control.read = () => new Promise(() => {});
    const late = expect(answer(ping(true))).rejects.toThrow('in time');
    await vi.advanceTimersByTimeAsync(2_000);
    await late;
    control.read = async () => {
      control.readAtMs = control.nowMs;
    };
    expect((await answer(ping(true))).rev).toBe(7);
  });

  it('beyond a few at a time shares the next read with all that came, and never one that had begun', async () => {
    const control = new Control();
    const answer = control.start();
    const reads: (() => void)[] = [];
    control.read = () =>
      new Promise((resolve) => {
        const askedAtMs = control.nowMs;
        reads.push(() => {
          control.readAtMs = askedAtMs;
          resolve();
        });
      });
    const first = Array.from({ length: READS_MAX }, () => answer(ping(true)));
    expect(control.reads).toBe(READS_MAX);
    control.nowMs += 10;
    const others = [1, 2, 3].map(() => answer(ping(true)));
    let ended = 0;
    for (const other of others) void other.then(() => ended++);
    reads[0]!();
    await first[0];
    await vi.advanceTimersByTimeAsync(0);
    expect([control.reads, ended]).toEqual([READS_MAX + 1, 0]);
    for (const read of reads) read();
    await Promise.all([...first, ...others]);
    expect([control.reads, ended]).toEqual([READS_MAX + 1, 3]);
  });
});
