import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../../../tests/support/silent-log.ts';
import { until } from '../../../../tests/support/until.ts';
import type { LimitedSubject } from '../limited-subject.ts';
import { MeterBook } from '../meter-book.ts';
import { OwnedMeters } from '../owned-meters.ts';
import { Permit } from '../permit.ts';
import { RateLimits } from '../rate-limits.ts';
import { InstancePeers } from './instance-peers.ts';
import { PeerSockets } from './peer-sockets.ts';

const WINDOW_SECONDS = 60;
let directory: string;
const running: { sockets: PeerSockets }[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'claviger-limits-'));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ sockets }) => sockets.close()));
  rmSync(directory, { recursive: true, force: true });
});

async function start(slot: number) {
  const monotonicMs = (): number => performance.now() + 1e9;
  const book = new MeterBook(WINDOW_SECONDS);
  const owned = new OwnedMeters(book, monotonicMs);
  const peers: InstancePeers = new InstancePeers({
    slot,
    book,
    owned,
    monotonicMs,
    onOwnersChanged: () => limits.lendersChanged(true),
  });
  const limits = new RateLimits({
    book,
    monotonicMs,
    instance: peers,
    region: null,
    regions: () => 1,
    setTimer: (callback, delayMs) => {
      const timer = setTimeout(callback, delayMs);
      return () => clearTimeout(timer);
    },
  });
  const sockets = new PeerSockets({ directory, slot, peers, log: silentLog });
  await sockets.start();
  const one = { peers, limits, sockets };
  running.push(one);
  return one;
}

const limited = (fields: Partial<LimitedSubject>): LimitedSubject[] => [
  {
    descriptor: 'api_key',
    id: 'a',
    rpm: null,
    tpm: null,
    maxParallelRequests: null,
    type: 'best_effort_throughput',
    scope: 'region',
    ...fields,
  },
];

async function admit({ limits }: { limits: RateLimits }, subjects: LimitedSubject[]): Promise<Permit | null> {
  const decision = await new Promise((resolve) => {
    const known = limits.admit(subjects, { tokens: 1, bounded: true }, false, resolve);
    if (known !== null) resolve(known);
  });
  return decision instanceof Permit ? decision : null;
}

/** One in each process in turn until `count` were admitted; a process that is slow to answer is asked again. */
async function admitted(processes: { limits: RateLimits }[], subjects: LimitedSubject[], tries: number) {
  const permits: Permit[] = [];
  for (let call = 0; call < tries; call++) {
    const permit = await admit(processes[call % processes.length]!, subjects);
    if (permit !== null) permits.push(permit);
  }
  return permits;
}

describe('gateway processes that are connected', () => {
  it('admit exactly the limit together, and what one has counted is known when another takes over', async () => {
    const first = await start(0);
    const second = await start(1);
    await until('both know each other', () =>
      first.peers.liveCount === 2 && second.peers.liveCount === 2 ? true : null,
    );
    const subjects = Array.from({ length: 6 }, (_, index) => limited({ id: `key-${index}`, rpm: 20 }));
    for (const subject of subjects) expect(await admitted([first, second], subject, 120)).toHaveLength(20);
    const third = await start(2);
    await until('all know the third', () =>
      first.peers.liveCount === 3 && second.peers.liveCount === 3 ? true : null,
    );
    for (const subject of subjects) expect(await admitted([third, second, first], subject, 30)).toHaveLength(0);
    // Nothing is lost with a process that leaves, whatever it owned.
    running.splice(running.indexOf(second), 1);
    await second.sockets.close();
    await until('one is gone', () => (first.peers.liveCount === 2 && third.peers.liveCount === 2 ? true : null));
    for (const subject of subjects) expect(await admitted([third, first], subject, 20)).toHaveLength(0);
  });

  it('free the slots of a process whose connection closes', async () => {
    const first = await start(0);
    const second = await start(1);
    await until('both know each other', () =>
      first.peers.liveCount === 2 && second.peers.liveCount === 2 ? true : null,
    );
    const subjects = Array.from({ length: 6 }, (_, index) => limited({ id: `key-${index}`, maxParallelRequests: 2 }));
    for (const subject of subjects) expect(await admitted([second], subject, 10)).toHaveLength(2);
    for (const subject of subjects) expect(await admitted([first], subject, 5)).toHaveLength(0);
    running.splice(running.indexOf(second), 1);
    await second.sockets.close();
    await until('it is gone', () => (first.peers.liveCount === 1 ? true : null));
    for (const subject of subjects) expect(await admitted([first], subject, 5)).toHaveLength(2);
  });

  it('are not held up by a socket that a killed process left', async () => {
    writeFileSync(join(directory, 'limits-7.sock'), '');
    const beganMs = performance.now();
    const first = await start(0);
    expect(performance.now() - beganMs).toBeLessThan(900);
    expect(first.peers.liveCount).toBe(1);
    expect(await admitted([first], limited({ rpm: 3 }), 10)).toHaveLength(3);
  });
});
