/**
 * What it costs to book a usage record: CPU of the control process' side (this process) and of PostgreSQL, per record, in batches as
 * gateway processes ship them. Run with `node --import tsx bench/micro/ingest.ts [records]`; needs nothing but the checkout.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { ingestUsage } from '../../src/control/money/ingest.ts';
import { openDatabase } from '../../src/control/open-database.ts';
import { parseUsageBatch } from '../../src/feed/codec.ts';
import { createDatabase } from '../../src/storage/pool.ts';
import { uuidV7 } from '../../src/util/uuid-v7.ts';
import { startPostgresCluster } from '../../tests/support/postgres-cluster.ts';
import { silentLog } from '../../tests/support/silent-log.ts';
import { usageRecord } from '../../tests/support/usage-records.ts';

const recordCount = Number(process.argv[2] ?? 50_000);
const BATCH_RECORDS = 500;
const KEYS = 200;

const cluster = await startPostgresCluster({
  serverSettings: { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' },
});
try {
  const url = cluster.directUrl('postgres');
  const db = createDatabase({ url, connectionsMax: 2, log: silentLog });
  const options = { db, migrationUrl: url, disableSchemaUpdate: false, sealingKey: 'salt', log: silentLog };
  const { installation } = (await openDatabase(options)).position;
  const bodies: string[] = [];
  for (let from = 0; from < recordCount; from += BATCH_RECORDS) {
    const records = Array.from({ length: BATCH_RECORDS }, (_, index) =>
      usageRecord({
        requestId: uuidV7(Date.now(), randomBytes),
        callId: randomUUID(),
        token: String((from + index * 7) % KEYS).padStart(64, 'a'),
        seq: from + index + 1,
        startedAtMs: Date.now(),
      }),
    );
    const to = from + BATCH_RECORDS;
    bodies.push(
      JSON.stringify({ installation, gatewayId: 'i/0', region: 'eu', incarnation: 'inc', from, to, records }),
    );
  }
  const before = { own: process.cpuUsage(), postgres: postgresCpuMs(cluster.dir), wall: performance.now() };
  for (const body of bodies) await ingestUsage(parseUsageBatch(body), { db, log: silentLog });
  const own = process.cpuUsage(before.own);
  const micros = (value: number): string => (value / recordCount).toFixed(1);
  console.log(`records           ${recordCount} in batches of ${BATCH_RECORDS}, ${KEYS} keys`);
  console.log(`control process   ${micros(own.user + own.system)} us of CPU per record`);
  console.log(
    `PostgreSQL        ${micros((postgresCpuMs(cluster.dir) - before.postgres) * 1_000)} us of CPU per record`,
  );
  console.log(`rate              ${((recordCount / (performance.now() - before.wall)) * 1_000).toFixed(0)} records/s`);
  await db.close();
} finally {
  await cluster.stop();
}

/** User and system time of all processes of the server, from /proc. */
function postgresCpuMs(dir: string): number {
  const clockTicksMs = 10;
  let sumMs = 0;
  const postmaster = Number(readFileSync(`${dir}/data/postmaster.pid`, 'utf8').split('\n')[0]);
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(name) !== postmaster && Number(fields[1]) !== postmaster) continue;
      sumMs += (Number(fields[11]) + Number(fields[12])) * clockTicksMs;
    } catch {
      // It ended between the two reads.
    }
  }
  return sumMs;
}
