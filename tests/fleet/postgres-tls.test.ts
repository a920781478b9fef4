import { randomInt } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PostgresCluster, startPostgresCluster } from '../support/postgres-cluster.ts';
import { runClaviger, startClaviger } from '../support/processes.ts';
import { type CertificateAuthority, createCertificateAuthority } from '../support/tls.ts';
import { unprivilegedAccount } from '../support/unprivileged-account.ts';
import { until } from '../support/until.ts';

/** Loopback addresses of this test alone, so that the port may be the usual one. Only the first is in the certificate. */
const octets = `${randomInt(1, 255)}.${randomInt(1, 255)}`;
const NAMED = `127.${octets}.1`;
const UNNAMED = `127.${octets}.2`;
const PASSWORD = 'password-of-the-database';
const MASTER_KEY = 'sk-master-of-the-database-tests';
/** Kept from those that come without TLS, by the server. */
const TLS_ONLY = 'tls_only';
const EITHER = 'postgres';

let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let cluster: PostgresCluster;
let dir: string;

beforeAll(async () => {
  authority = await createCertificateAuthority();
  stranger = await createCertificateAuthority('Somebody else');
  const server = await authority.serverCertificate({ names: [`IP:${NAMED}`] });
  dir = mkdtempSync(join(tmpdir(), 'claviger-pg-tls-'));
  const hba = join(dir, 'hba.conf');
  writeFileSync(hba, `local all all trust\nhostssl all all all trust\nhostnossl ${EITHER} all all trust\n`);
  copyFileSync(server.certPath, join(dir, 'server.pem'));
  copyFileSync(server.keyPath, join(dir, 'server.key'));
  const account = unprivilegedAccount();
  for (const name of ['.', 'hba.conf', 'server.pem', 'server.key']) {
    const path = join(dir, name);
    if (account !== null) chownSync(path, account.uid, account.gid);
    chmodSync(path, name === '.' ? 0o700 : 0o600);
  }
  cluster = await startPostgresCluster({
    serverSettings: {
      listen_addresses: `${NAMED},${UNNAMED}`,
      ssl: 'on',
      ssl_cert_file: join(dir, 'server.pem'),
      ssl_key_file: join(dir, 'server.key'),
      hba_file: hba,
    },
  });
  await query('postgres', `CREATE DATABASE ${TLS_ONLY}`);
});
afterAll(async () => {
  await cluster?.stop();
  await Promise.all([authority?.remove(), stranger?.remove()]);
  rmSync(dir, { recursive: true, force: true });
});

const url = (host: string, database: string, parameters: string) =>
  `postgresql://postgres:${PASSWORD}@${host}:5432/${database}?${parameters}`;

describe('DATABASE_URL of a command', () => {
  const known = () => `sslrootcert=${encodeURIComponent(authority.caPath)}`;
  const foreign = () => `sslrootcert=${encodeURIComponent(stranger.caPath)}`;
  const OK = /./;

  it.each([
    ['disable, where clear connections are allowed', 0, OK, () => url(NAMED, EITHER, 'sslmode=disable')],
    ['disable, where they are not', 1, /no encryption|pg_hba/, () => url(NAMED, TLS_ONLY, 'sslmode=disable')],
    ['nothing', 0, OK, () => url(UNNAMED, TLS_ONLY, '')],
    ['require', 0, OK, () => url(UNNAMED, TLS_ONLY, 'sslmode=require')],
    ['require and its authority', 0, OK, () => url(UNNAMED, TLS_ONLY, `sslmode=require&${known()}`)],
    [
      'require and another authority',
      1,
      /certificate|signature/,
      () => url(NAMED, TLS_ONLY, `sslmode=require&${foreign()}`),
    ],
    ['verify-ca and any name', 0, OK, () => url(UNNAMED, TLS_ONLY, `sslmode=verify-ca&${known()}`)],
    [
      'verify-ca and another authority',
      1,
      /certificate|signature/,
      () => url(NAMED, TLS_ONLY, `sslmode=verify-ca&${foreign()}`),
    ],
    ['verify-full and its name', 0, OK, () => url(NAMED, TLS_ONLY, `sslmode=verify-full&${known()}`)],
    [
      'verify-full and another name',
      1,
      /altnames|does not match/,
      () => url(UNNAMED, TLS_ONLY, `sslmode=verify-full&${known()}`),
    ],
    ['verify-full and no authority', 1, /certificate/, () => url(NAMED, TLS_ONLY, 'sslmode=verify-full')],
    [
      'verify-full and a missing file',
      1,
      /sslrootcert in DATABASE_URL names \/nowhere\/ca\.pem/,
      () => url(NAMED, TLS_ONLY, 'sslmode=verify-full&sslrootcert=/nowhere/ca.pem'),
    ],
    ['an unknown mode', 1, /sslmode=full in DATABASE_URL is not known/, () => url(NAMED, TLS_ONLY, 'sslmode=full')],
  ] as const)('with %s', async (_what, expected, sentence, databaseUrl) => {
    const { code, stdout, stderr } = await runClaviger(['migrate'], { env: { DATABASE_URL: databaseUrl() }, cwd: dir });
    const said = stdout + stderr;
    expect([code, said]).toEqual([expected, expect.stringMatching(sentence)]);
    expect(said).not.toMatch(/^\s+at /m);
    expect(said).not.toContain(PASSWORD);
  });
});

describe('an instance', () => {
  it('works over verify-full, with each of its connections', async () => {
    const parameters = `sslmode=verify-full&sslrootcert=${encodeURIComponent(authority.caPath)}`;
    await using claviger = await startClaviger({
      env: { DATABASE_URL: url(NAMED, TLS_ONLY, parameters), LITELLM_MASTER_KEY: MASTER_KEY },
    });
    const key = await claviger.generateKey({ key_alias: 'over-tls' });
    expect((await claviger.api('GET', '/models', undefined, key)).status).toBe(200);
    expect((await claviger.api('GET', '/key/info', undefined, key)).json().info.key_alias).toBe('over-tls');
    const connections = await query<{ ssl: boolean; version: string }>(
      TLS_ONLY,
      `SELECT s.ssl, s.version FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
       WHERE a.datname = '${TLS_ONLY}' AND a.application_name = 'claviger'`,
    );
    expect(connections.length).toBeGreaterThan(0);
    for (const connection of connections) expect(connection).toEqual({ ssl: true, version: 'TLSv1.3' });
    expect(claviger.logs()).not.toContain(PASSWORD);
  });

  it('whose server has another name stays up, answers 503, says why in its log, and sends it nothing', async () => {
    const parameters = `sslmode=verify-full&sslrootcert=${encodeURIComponent(authority.caPath)}`;
    await using claviger = await startClaviger({
      env: { DATABASE_URL: url(UNNAMED, TLS_ONLY, parameters), LITELLM_MASTER_KEY: MASTER_KEY },
      readinessPath: '/health/liveliness',
    });
    await claviger.waitForLog(/altnames|does not match certificate/, 20_000);
    const answer = await until('the control process answers', async () => {
      const { status, text } = await claviger.api('GET', '/key/list');
      return text.includes('The database can not be reached') ? status : null;
    });
    expect(answer).toBe(503);
    expect((await claviger.api('GET', '/health/readiness')).status).toBe(503);
    const connections = await query(TLS_ONLY, `SELECT 1 FROM pg_stat_activity WHERE application_name = 'claviger'`);
    expect(connections).toEqual([]);
    expect(claviger.logs()).not.toContain(PASSWORD);
  });
});

async function query<T extends pg.QueryResultRow>(database: string, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: cluster.directUrl(database) });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}
