import { appendFileSync, cpSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import pg from 'pg';

/** Makes `dataDir` a copy of a running server that follows it when it is started. Both run as the same account. */
export async function copyAsStandby(primaryDir: string, primaryUrl: string, dataDir: string): Promise<void> {
  const client = new pg.Client({ connectionString: primaryUrl });
  await client.connect();
  try {
    await client.query("select pg_backup_start('standby', true)");
    cpSync(join(primaryDir, 'data'), dataDir, {
      recursive: true,
      filter: (path) => !/^postmaster\.(pid|opts)$/.test(basename(path)),
    });
    const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop()');
    writeFileSync(join(dataDir, 'backup_label'), rows[0]!.labelfile);
  } finally {
    await client.end();
  }
  writeFileSync(join(dataDir, 'standby.signal'), '');
  appendFileSync(
    join(dataDir, 'postgresql.auto.conf'),
    `primary_conninfo = 'host=${primaryDir} port=5432 user=postgres'\n`,
  );
}
