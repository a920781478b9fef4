/** What somebody who waits for a fresh key costs in round trips to the database, whatever else its control process does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChaosProxy } from '../../../tests/support/chaos-proxy.ts';
import { startDatabaseProxy } from '../../../tests/support/database-proxy.ts';
import { FeedProbe } from '../../../tests/support/feed-probe.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { until } from '../../../tests/support/until.ts';
import type { PingRequest } from '../../feed/protocol.ts';
import { createDatabase } from '../../storage/pool.ts';
import { readPosition } from '../../storage/repositories/installation.ts';
import { openRevisionLine } from '../../storage/revision-line.ts';
import { systemClock } from '../../util/clock.ts';
import { createAnswerPing } from './answer-ping.ts';
import { ChangeTail } from './change-tail.ts';

/** Of a worker: three connections in all, one of them for what is new. */
const POOL = 2;
const FRESH = { sentAtMs: 1, fresh: true } as PingRequest;

let admin: TestControlPlane;
let proxy: ChaosProxy;
let url: string;
const ends: (() => Promise<void> | void)[] = [];

beforeEach(async () => {
  admin = await startControlPlane();
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await admin.stop();
});

/** `through`: the way to the database that all of it takes. */
async function startWorker(through: string) {
  const way = await startDatabaseProxy(through);
  proxy = way.proxy;
  url = way.url;
  ends.push(() => proxy.close());
  const db = createDatabase({ url, connectionsMax: POOL, log: silentLog });
  let pooled = 0;
  const ask: typeof db.ask = (statements) => {
    pooled += 1;
    return db.ask(statements);
  };
  const line = openRevisionLine({ url, pool: { ask }, onHint: () => undefined, log: silentLog });
  await until('the line answers', async () => {
    const before = pooled;
    await line.ask(['select 1']);
    return pooled === before ? true : null;
  });
  ends.push(
    () => db.close(),
    () => line.stop(),
  );
  const tail = new ChangeTail({
    db: line,
    clock: systemClock,
    log: silentLog,
    onHistoryReplaced: () => undefined,
    // Polls are made by the tests.
    pollIntervalMs: 2 ** 31 - 1,
  });
  tail.start(await db.read(readPosition), systemClock.monotonicMs());
  ends.push(() => tail.stop());
  const answerPing = createAnswerPing({ tail, witness: () => null, clock: systemClock, connectedCount: () => 1 });
  return { db, tail, answerPing };
}

/** All of the pool is taken, by transactions that last until the end of the test. */
async function takePool(db: ReturnType<typeof createDatabase>): Promise<void> {
  let letGo = () => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const taken = Array.from({ length: POOL }, () => {
    let begun = () => {};
    const ready = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const ended = db.read(async (tx) => {
      await readPosition(tx);
      begun();
      await held;
    });
    return { ready, ended };
  });
  await Promise.all(taken.map(({ ready }) => ready));
  ends.push(async () => {
    letGo();
    await Promise.all(taken.map(({ ended }) => ended));
  });
}

const WAYS = [
  ['straight to PostgreSQL', () => admin.database.directUrl],
  ['on the way that a pooler may stand in', () => admin.database.url],
] as const;

describe.each(WAYS)('a fresh ping, %s', (_, way) => {
  it('is answered with the key that was made a moment ago after one round trip, while the pool is taken and a poll under way', async () => {
    const { db, tail, answerPing } = await startWorker(way());
    await takePool(db);
    await proxy.set({ kind: 'half-open' });
    const before = { sent: proxy.sent, turns: proxy.turns };
    const poll = tail.poll();
    await until('the poll is under way', () => (proxy.sent > before.sent ? true : null));
    // Behind what the poll sees.
    await until('the database has answered the poll', async () => await admin.db.read(readPosition));
    const made = await admin.call('POST', '/key/generate', { body: { key_alias: 'made a moment ago' } });
    const rev = Number(made.headers.get('x-claviger-rev'));
    const answers = [answerPing(FRESH), answerPing(FRESH)];
    await until('it was asked without waiting for the poll', () => (proxy.sent >= before.sent + 2 ? true : null));
    await proxy.set({ kind: 'pass' });
    for (const answer of await Promise.all(answers)) expect(answer.rev).toBe(rev);
    await poll;
    // All went there before anything came back.
    expect(proxy.turns - before.turns).toBe(1);
    expect(tail.position?.rev).toBe(rev);
  });
});

it('a worker of one control plane answers fresh pings while its pool hangs', async () => {
  const pool = await startDatabaseProxy(admin.database.url);
  ends.push(() => pool.proxy.close());
  const worker = await startControlPlane({
    database: admin.database,
    instanceId: 'worker',
    databaseUrl: pool.url,
    settings: { role: 'worker', directUrl: admin.database.directUrl },
  });
  ends.push(() => worker.stop());
  const probe = new FeedProbe({ socketPath: worker.feedSocket });
  ends.push(() => probe.close());
  await probe.until(() => probe.position !== null);
  await until('hears of revisions', async () => {
    const made = await admin.call('POST', '/key/generate', { body: {} });
    await probe.untilRev(Number(made.headers.get('x-claviger-rev')));
    return true;
  });
  await pool.proxy.set({ kind: 'blackhole' });
  for (let round = 0; round < 5; round++) {
    const made = await admin.call('POST', '/key/generate', { body: {} });
    const { reply } = await probe.ping({}, true);
    expect(reply?.rev).toBeGreaterThanOrEqual(Number(made.headers.get('x-claviger-rev')));
  }
  await pool.proxy.set({ kind: 'pass' });
});
