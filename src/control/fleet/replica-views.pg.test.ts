import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FleetProbe } from '../../../tests/support/fleet-probe.ts';
import { type PostgresCluster, startPostgresCluster } from '../../../tests/support/postgres-cluster.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import type { WorkerRow } from '../../contract/schemas/fleet.ts';
import type { Database } from '../../storage/db.ts';
import { createDatabase } from '../../storage/pool.ts';

let primary: PostgresCluster;
let standby: PostgresCluster;
let onStandby: Database;
let admin: TestControlPlane;
let probe: FleetProbe;

beforeAll(async () => {
  primary = await startPostgresCluster();
  standby = await startPostgresCluster({ standbyOf: primary });
  const url = primary.directUrl('postgres');
  const readReplicaUrl = standby.directUrl('postgres');
  onStandby = createDatabase({ url: readReplicaUrl, connectionsMax: 1, log: silentLog });
  const database = { url, directUrl: url, name: 'postgres', drop: async () => undefined };
  admin = await startControlPlane({ database, settings: { role: 'admin', readReplicaUrl } });
}, 60_000);
afterAll(async () => {
  probe?.close();
  await admin?.stop();
  await onStandby?.close();
  await standby?.stop();
  await primary?.stop();
});

const workers = async (): Promise<readonly WorkerRow[]> => (await admin.call('GET', '/fleet/workers')).json.workers;
const stateOf = async (id: string) => (await workers()).find(({ worker }) => worker === id)?.state;
const replay = (what: 'pause' | 'resume') =>
  onStandby.read((tx) => sql.raw(`select pg_wal_replay_${what}()`).execute(tx));

it('views of the fleet and lists of changes come from the read replica, decisions from the primary', async () => {
  probe = await new FleetProbe({ socketPath: admin.feedSocket, gatewayId: 'near/0' }).arrive();
  const { token } = (await admin.call('POST', '/key/generate', { body: {} })).json;
  const changesOfKey = async () => (await admin.call('GET', `/fleet/changes?object=${token}`)).json.changes;
  const insertFar = sql`insert into claviger.gateway (gateway_id, instance_id, session, region, role, version, protocol, epoch,
                               rev, applied_at, stats, reported_by, heard_at)
    select 'far/0', 'far', session, region, role, version, protocol, epoch, rev, applied_at, stats, 'far', now()
      from claviger.gateway where gateway_id = 'near/0'`;
  await expect.poll(() => stateOf('near')).toBe('live');
  await expect
    .poll(async () => {
      await admin.db.write((tx) => sql`delete from claviger.gateway where gateway_id = 'far/0'`.execute(tx));
      await admin.db.write((tx) => insertFar.execute(tx));
      return stateOf('far');
    })
    .toBe('live');
  await expect
    .poll(async () => {
      const { rows } = await onStandby.read((tx) =>
        sql<{
          there: boolean;
        }>`select exists (select 1 from claviger.gateway where gateway_id = 'far/0') as there`.execute(tx),
      );
      return rows[0]!.there;
    })
    .toBe(true);
  await replay('pause');
  await admin.db.write((tx) =>
    sql`update claviger.gateway set heard_at = now() - interval '5 minutes' where instance_id = 'far'`.execute(tx),
  );
  await admin.db.write((tx) =>
    sql`update claviger.change_log set actor = 'rewritten' where object_id = ${token}`.execute(tx),
  );
  expect(await stateOf('far')).toBe('live');
  expect((await changesOfKey())[0].actor).toBe('default_user_id');
  // What is connected here is known at first hand, wherever the rest comes from.
  expect(await stateOf('near')).toBe('live');
  // Ages are as of the moment that the replica shows: here the primary has heard of a control process a minute later.
  await admin.db.write((tx) =>
    sql`insert into claviger.control_heartbeat select (jsonb_populate_record(h, '{"control_id": "later/control"}')).*
          from claviger.control_heartbeat h where instance_id = 'test-instance'`.execute(tx),
  );
  await admin.db.write((tx) =>
    sql`update claviger.control_heartbeat set at = now() + interval '1 minute' where control_id = 'later/control'`.execute(
      tx,
    ),
  );
  expect(Date.parse((await admin.call('GET', '/fleet/workers')).json.now)).toBeLessThan(Date.now() - 50_000);
  // The replica would have it live.
  expect((await admin.call('POST', '/fleet/workers/far/remove', { body: {} })).status).toBe(200);
  await replay('resume');
  await expect.poll(() => stateOf('far')).toBeUndefined();
  expect((await changesOfKey())[0].actor).toBe('rewritten');
  // A change that was just made is there, replayed or not.
  await replay('pause');
  await admin.call('POST', '/key/block', { body: { key: token } });
  expect((await changesOfKey())[0]).toMatchObject({ op: 'blocked' });
  await replay('resume');
});
