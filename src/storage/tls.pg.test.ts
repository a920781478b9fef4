import { randomInt } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PostgresCluster, startPostgresCluster } from '../../tests/support/postgres-cluster.ts';
import { silentLog } from '../../tests/support/silent-log.ts';
import { createTestDatabase } from '../../tests/support/test-database.ts';
import { type Certificate, type CertificateAuthority, createCertificateAuthority } from '../../tests/support/tls.ts';
import { unprivilegedAccount } from '../../tests/support/unprivileged-account.ts';
import { databaseAddress } from './connection.ts';
import { DatabaseUnavailable } from './db.ts';
import { createDatabase } from './pool.ts';

/** Loopback addresses of this test alone, so that the port may be the usual one. Only the first is in the certificate. */
const octets = `${randomInt(1, 255)}.${randomInt(1, 255)}`;
const NAMED = `127.${octets}.1`;
const UNNAMED = `127.${octets}.2`;

let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let client: Certificate;
let cluster: PostgresCluster;
let dir: string;

beforeAll(async () => {
  authority = await createCertificateAuthority();
  stranger = await createCertificateAuthority('Somebody else');
  client = await authority.clientCertificate('postgres');
  const server = await authority.serverCertificate({ names: [`IP:${NAMED}`] });
  dir = mkdtempSync(join(tmpdir(), 'claviger-pg-tls-'));
  const place = (from: string, name: string) => {
    const path = join(dir, name);
    copyFileSync(from, path);
    return own(path);
  };
  const hba = join(dir, 'hba.conf');
  writeFileSync(hba, 'local all all trust\nhostssl template1 all all cert\nhostssl all all all trust\n');
  own(dir);
  cluster = await startPostgresCluster({
    serverSettings: {
      listen_addresses: `${NAMED},${UNNAMED}`,
      ssl: 'on',
      ssl_cert_file: place(server.certPath, 'server.pem'),
      ssl_key_file: place(server.keyPath, 'server.key'),
      ssl_ca_file: place(authority.caPath, 'ca.pem'),
      hba_file: own(hba),
    },
  });
});
afterAll(async () => {
  await cluster.stop();
  rmSync(dir, { recursive: true, force: true });
  await Promise.all([authority.remove(), stranger.remove()]);
});

function own(path: string): string {
  const account = unprivilegedAccount();
  if (account !== null) chownSync(path, account.uid, account.gid);
  chmodSync(path, path === dir ? 0o700 : 0o600);
  return path;
}

/** 'tls' or 'clear' when the connection is made, else what was said. */
async function attempt(url: string): Promise<string> {
  const db = createDatabase({ url, connectionsMax: 1, log: silentLog });
  try {
    const { rows } = await db.read((tx) =>
      sql<{
        ssl: boolean;
      }>`select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as ssl`.execute(tx),
    );
    return rows[0]!.ssl ? 'tls' : 'clear';
  } catch (error) {
    expect(error).toBeInstanceOf(DatabaseUnavailable);
    return (error as Error).message;
  } finally {
    await db.close();
  }
}

const url = (host: string, parameters: string, database = 'postgres') =>
  `postgresql://postgres@${host}:5432/${database}?${parameters}`;

describe('sslmode', () => {
  it('uses TLS unless it is switched off, and then this server refuses', async () => {
    for (const mode of ['', 'sslmode=prefer', 'sslmode=allow', 'sslmode=require', 'ssl=true']) {
      expect([mode, await attempt(url(UNNAMED, mode))]).toEqual([mode, 'tls']);
    }
    expect(await attempt(url(NAMED, 'sslmode=disable'))).toMatch(/no encryption|no pg_hba.conf entry/);
  });

  it('verify-full wants a known authority and the name of the server', async () => {
    const known = `sslmode=verify-full&sslrootcert=${encodeURIComponent(authority.caPath)}`;
    expect(await attempt(url(NAMED, known))).toBe('tls');
    expect(await attempt(url(UNNAMED, known))).toMatch(/does not match certificate|is not in the cert/);
    expect(await attempt(url(NAMED, 'sslmode=verify-full'))).toMatch(/certificate/);
    expect(await attempt(url(NAMED, `sslmode=verify-full&sslrootcert=${stranger.caPath}`))).toMatch(
      /certificate|signature/,
    );
  });

  it('verify-ca wants a known authority and takes any name; require does so when it is given an authority', async () => {
    for (const mode of ['verify-ca', 'require']) {
      expect(await attempt(url(UNNAMED, `sslmode=${mode}&sslrootcert=${authority.caPath}`))).toBe('tls');
      expect(await attempt(url(UNNAMED, `sslmode=${mode}&sslrootcert=${stranger.caPath}`))).toMatch(
        /certificate|signature/,
      );
    }
  });

  it('sends a client certificate to a server that asks for one', async () => {
    const own = `sslcert=${client.certPath}&sslkey=${client.keyPath}`;
    expect(await attempt(url(NAMED, `sslmode=require&${own}`, 'template1'))).toBe('tls');
    expect(await attempt(url(NAMED, 'sslmode=require', 'template1'))).toMatch(/certificate/);
  });

  it('goes on without TLS where the server has none, if that is allowed', async () => {
    const database = await createTestDatabase();
    const target = new URL(database.directUrl);
    const socket = join(target.searchParams.get('host')!, `.s.PGSQL.${target.port}`);
    const proxy = createServer((incoming) => {
      const upstream = connect(socket);
      incoming.pipe(upstream).pipe(incoming);
      for (const end of [incoming, upstream]) end.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', () => resolve()));
    const address = proxy.address() as { port: number };
    const at = (parameters: string) => `postgres://postgres@127.0.0.1:${address.port}/${database.name}?${parameters}`;
    expect(await attempt(at(''))).toBe('clear');
    expect(await attempt(at('sslmode=require'))).toMatch(/does not support SSL/);
    proxy.close();
    await database.drop();
  });
});

describe('a database URL', () => {
  it('that can not be used is an error that says what to change and shows no password', () => {
    const secret = 'hunter2';
    for (const [rest, text] of [
      ['?sslmode=verify_full', /sslmode=verify_full .* Use one of disable, allow/],
      ['?sslmode=verify-full&sslrootcert=/nowhere/ca.pem', /sslrootcert in DATABASE_URL names \/nowhere\/ca.pem/],
    ] as const) {
      const build = () => databaseAddress(`postgres://user:${secret}@db.example:5432/app${rest}`);
      expect(build).toThrow(text);
      expect(build).not.toThrow(secret);
    }
    expect(() => databaseAddress(`postgres://user:${secret}@db:port/app`)).toThrow(/can not be read/);
  });

  it('is described without user and password', () => {
    expect(databaseAddress('postgres://user:hunter2@db.example:6000/app').description).toBe('db.example:6000/app');
  });
});
