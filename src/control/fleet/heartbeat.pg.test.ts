import { sql } from 'kysely';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../tests/support/eventually.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { until } from '../../../tests/support/until.ts';
import { beat, removeOldBeats } from '../../storage/repositories/heartbeat.ts';
import { systemClock } from '../../util/clock.ts';
import { Heartbeat } from './heartbeat.ts';

const IDENTITY = { controlId: 'i/control', instanceId: 'i', role: 'worker', region: 'eu', version: '1' };

let plane: TestControlPlane | null = null;
const running: Heartbeat[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((heartbeat) => heartbeat.stop()));
  await plane?.stop();
  plane = null;
});

function start(db: TestControlPlane['db'], intervalMs: number): Heartbeat {
  const heartbeat = new Heartbeat({ db, identity: IDENTITY, clock: systemClock, intervalMs, log: silentLog });
  running.push(heartbeat);
  return heartbeat;
}

async function beats(controlId = IDENTITY.controlId): Promise<number | null> {
  const row = await plane!.db.read((tx) =>
    tx.selectFrom('claviger.control_heartbeat').select('beat').where('control_id', '=', controlId).executeTakeFirst(),
  );
  return row === undefined ? null : Number(row.beat);
}

describe('a heartbeat', () => {
  it('is a committed write, and the revision that was read before it was committed', async () => {
    plane = await startControlPlane();
    const made = await plane.call('POST', '/key/generate', { body: {} });
    const heartbeat = start(plane.db, 60_000);
    const beforeMs = systemClock.monotonicMs();
    await heartbeat.run();
    expect(heartbeat.newest).toMatchObject({ epoch: 1, rev: Number(made.headers.get('x-claviger-rev')) });
    // As old as the question, not as the answer.
    expect(heartbeat.newest!.readAtMs).toBeGreaterThanOrEqual(beforeMs);
    expect(heartbeat.newest!.readAtMs).toBeLessThan(systemClock.monotonicMs());
    expect(await beats()).toBe(1);
  });

  it('comes again and again, and counts', async () => {
    plane = await startControlPlane();
    const heartbeat = start(plane.db, 10);
    await heartbeat.run();
    await until('several beats', async () => ((await beats())! > 3 ? true : null));
  });

  it('waits for what the operator replicates to, whatever the database does by default', async () => {
    plane = await startControlPlane();
    const durability = await plane.db.write(async (tx) => {
      await sql`select set_config('synchronous_commit', 'off', true)`.execute(tx);
      await beat(tx, IDENTITY);
      const { rows } = await sql<{ value: string }>`select current_setting('synchronous_commit') as value`.execute(tx);
      return rows[0]!.value;
    });
    expect(durability).toBe('on');
  });

  it('is not taken by a database that takes no writes: then nothing is proved, and it goes on when it does', async () => {
    plane = await startControlPlane();
    // As a copy answers that is only read, or a primary that was cut off from its copies: well to reads, never to a write.
    const { db } = plane;
    let write = db.read;
    const heartbeat = start({ ...db, write: (run) => write(run) }, 10);
    await heartbeat.run();
    expect(heartbeat.newest).toBeNull();
    write = db.write;
    await eventually(() => heartbeat.newest !== null);
  });

  it('that hangs is overtaken by the next, and does not set the proof back when it comes through', async () => {
    plane = await startControlPlane();
    const { db } = plane;
    let hang: Promise<void> | null = null;
    let letGo = () => {};
    const writes: typeof db.write = async (run) => {
      const result = await db.write(run);
      await hang;
      return result;
    };
    hang = new Promise((resolve) => {
      letGo = resolve;
    });
    const heartbeat = start({ ...db, write: writes }, 10);
    const begun = heartbeat.run();
    await begun;
    expect(heartbeat.newest).toBeNull();
    hang = null;
    await eventually(() => heartbeat.newest !== null);
    const newest = heartbeat.newest!.readAtMs;
    letGo();
    await heartbeat.stop();
    expect(heartbeat.newest!.readAtMs).toBeGreaterThanOrEqual(newest);
  });

  it('of a control process that is gone is removed after a day', async () => {
    plane = await startControlPlane();
    await plane.db.write(async (tx) => {
      await beat(tx, { ...IDENTITY, controlId: 'old' });
      await beat(tx, { ...IDENTITY, controlId: 'young' });
      await sql`update claviger.control_heartbeat set at = now() - interval '25 hours' where control_id = 'old'`.execute(
        tx,
      );
      await sql`update claviger.control_heartbeat set at = now() - interval '23 hours' where control_id = 'young'`.execute(
        tx,
      );
      await removeOldBeats(tx);
    });
    expect(await beats('old')).toBeNull();
    expect(await beats('young')).toBe(1);
  });
});
