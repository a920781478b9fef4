import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog as log } from '../../../tests/support/silent-log.ts';
import { asAccount, findAccount, ownAccount } from '../../util/account.ts';
import { systemClock as clock } from '../../util/clock.ts';
import { processIdentity } from '../../util/process-identity.ts';
import { copyPath } from './binaries.ts';
import { type EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from './embedded-postgres.ts';
import { locatePlatformPackage, type PlatformLookup, thisMachine } from './platform-package.ts';

const isRoot = process.getuid?.() === 0;
/** As which PostgreSQL runs here. */
const account = isRoot ? findAccount(['postgres', 'nobody'])! : ownAccount()!;

let root: string;
let options: EmbeddedPostgresOptions;
const started: EmbeddedPostgres[] = [];

beforeEach(() => {
  root = mkdtempSync('/tmp/cep-');
  chmodSync(root, 0o711);
  const dataDir = join(root, 'data');
  const socketDir = join(root, 'run');
  mkdirSync(dataDir, { mode: 0o700 });
  mkdirSync(socketDir, { mode: 0o700 });
  options = { dataDir, socketDir, log, clock, outsideParent: join(root, 'outside') };
});
afterEach(async () => {
  for (const database of started.splice(0)) await database.stop('immediate');
  rmSync(root, { recursive: true, force: true });
});

async function start(changes: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const database = await startEmbeddedPostgres({ ...options, ...changes });
  started.push(database);
  return database;
}

async function ask<T>(database: EmbeddedPostgres, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.map(([value]) => value as T);
  } finally {
    await client.end();
  }
}

/** The package as npm unpacks it with install scripts off: without the links. */
function packageWithoutLinks(directory: string): PlatformLookup {
  const source = locatePlatformPackage();
  cpSync(dirname(source.nativeDir), directory, {
    recursive: true,
    filter: (path) => !path.endsWith('.a') && !lstatSync(path).isSymbolicLink(),
  });
  return { ...thisMachine, resolve: () => join(directory, 'dist', 'index.js') };
}

describe('the embedded PostgreSQL', () => {
  it('keeps what is written to it, listens on no network port, and its directory is named by its major version', async () => {
    const first = await start();
    await ask(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
    expect(await ask(first, 'SHOW listen_addresses')).toEqual(['']);
    expect(await ask(first, 'SHOW server_encoding')).toEqual(['UTF8']);
    expect(await ask(first, 'SHOW data_directory')).toEqual([join(options.dataDir, 'postgres-18')]);
    await first.stop();
    expect(processIdentity(first.pid)).toBeNull();

    const second = await start();
    expect(second.takenOver).toBe(false);
    expect(second.url).toBe(first.url);
    expect(await ask(second, 'SELECT answer FROM kept')).toEqual([42]);
  });

  it('writes to a file, and nobody else may read that or the database', async () => {
    await start();
    expect(readFileSync(join(options.dataDir, 'postgres-18.log'), 'utf8')).toContain('ready to accept connections');
    expect(statSync(join(options.dataDir, 'postgres-18.log')).mode & 0o777).toBe(0o600);
    expect(statSync(join(options.dataDir, 'postgres-18')).mode & 0o777).toBe(0o700);
  });

  it('sees nothing of our environment', async () => {
    process.env.CLAVIGER_TEST_SECRET = 'sk-secret';
    const { pid } = await start();
    delete process.env.CLAVIGER_TEST_SECRET;
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('sk-secret');
  });

  it('tells when it is killed, and starts again on the same directory at once', async () => {
    const first = await start();
    await ask(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
    process.kill(first.pid, 'SIGKILL');
    expect(await first.exited).toBe('SIGKILL');
    const second = await start();
    expect(await ask(second, 'SELECT answer FROM kept')).toEqual([42]);
  });

  it('that runs already is taken over, watched and stopped like one of our own', async () => {
    const first = await start();
    const second = await start();
    expect(second.takenOver).toBe(true);
    expect(second.pid).toBe(first.pid);
    expect(await ask(second, 'SELECT 1')).toEqual([1]);
    await second.stop();
    await first.exited;
    await second.exited;
    expect(processIdentity(first.pid)).toBeNull();
  });

  it('that runs already without a socket makes room for another', async () => {
    const first = await start();
    const socketDir = new URL(first.url).searchParams.get('host')!;
    rmSync(join(socketDir, '.s.PGSQL.5432'));
    const second = await start();
    expect(second.takenOver).toBe(false);
    expect(processIdentity(first.pid)).toBeNull();
    expect(await ask(second, 'SELECT 1')).toEqual([1]);
  });

  it('starts although its postmaster.pid names a process that lives and is something else', async () => {
    const first = await start();
    const path = join(options.dataDir, 'postgres-18', 'postmaster.pid');
    const lines = readFileSync(path, 'utf8').split('\n');
    await first.stop();
    // As after a restart of a container. PostgreSQL heeds processes of its own account only.
    const other = spawn('sleep', ['60'], { ...asAccount(account), cwd: '/' });
    await once(other, 'spawn');
    writeFileSync(path, [other.pid, ...lines.slice(1)].join('\n'), { mode: 0o600 });
    chownSync(path, account.uid, account.gid);
    const second = await start();
    expect(await ask(second, 'SELECT 1')).toEqual([1]);
    expect(processIdentity(other.pid!)).not.toBeNull();
    other.kill('SIGKILL');
  });

  it('is not created next to a database of another major version', async () => {
    mkdirSync(join(options.dataDir, 'postgres-17'));
    await expect(start()).rejects.toThrow('was made by PostgreSQL 17');
    await expect(start()).rejects.toThrow('pg_dump');
    expect(readdirSync(options.dataDir)).toEqual(['postgres-17']);
  });

  it('is created anew when an earlier attempt was interrupted', async () => {
    mkdirSync(join(options.dataDir, 'postgres-18.partial-00000000'));
    await start();
    expect(readdirSync(options.dataDir).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('that can not start says why and where its log is', async () => {
    await (await start()).stop();
    renameSync(join(options.dataDir, 'postgres-18', 'global'), join(root, 'global'));
    await expect(start()).rejects.toThrow(/does not start: .*Its log is .*postgres-18\.log/);
  });

  it('whose start is interrupted leaves no process', async () => {
    await (await start()).stop();
    await expect(start({ signal: AbortSignal.abort() })).rejects.toThrow('does not start');
    expect(existsSync(join(options.dataDir, 'postgres-18', 'postmaster.pid'))).toBe(false);
  });

  it('has a connection string that works with spaces in the path of its socket', async () => {
    // As root the socket is in a directory of the account, whose name is not ours to choose.
    const socketDir = join(root, 'run with spaces');
    mkdirSync(socketDir, { mode: 0o700 });
    const database = await start({ socketDir });
    expect(await ask(database, 'SELECT 1')).toEqual([1]);
  });
});

describe('the binaries', () => {
  it('get the links that an install script would have made', async () => {
    const directory = join(root, 'package');
    const machine = packageWithoutLinks(directory);
    const database = await start({ machine });
    expect(await ask(database, 'SELECT 1')).toEqual([1]);
    expect(lstatSync(join(directory, 'native', 'lib', 'libpq.so.5')).isSymbolicLink()).toBe(true);
    expect(existsSync(copyPath(locatePlatformPackage(machine), options.dataDir))).toBe(false);
  });

  it.runIf(!isRoot)('are copied once when the links can not be made', async () => {
    const directory = join(root, 'package');
    const machine = packageWithoutLinks(directory);
    chmodSync(join(directory, 'native', 'lib'), 0o555);
    const copy = copyPath(locatePlatformPackage(machine), options.dataDir);
    await (await start({ machine })).stop();
    const made = statSync(copy).ctimeMs;
    await start({ machine });
    expect(statSync(copy).ctimeMs).toBe(made);
    // So that the test can remove it.
    chmodSync(join(directory, 'native', 'lib'), 0o755);
  });
});

describe.runIf(isRoot)('as root', () => {
  it('PostgreSQL runs as an unprivileged account, in the data directory when it can get there', async () => {
    const database = await start();
    expect(statSync(`/proc/${database.pid}`).uid).toBe(account.uid);
    expect(statSync(join(options.dataDir, 'postgres-18')).uid).toBe(account.uid);
    expect(statSync(options.dataDir).mode & 0o777).toBe(0o711);
    const socketDir = new URL(database.url).searchParams.get('host')!;
    expect(statSync(socketDir).mode & 0o777).toBe(0o700);
    await database.stop();
    expect(existsSync(socketDir)).toBe(false);
  });

  it('a data directory out of reach has its database elsewhere, and keeps it there when it comes into reach', async () => {
    const closed = join(root, 'closed');
    mkdirSync(join(closed, 'data'), { recursive: true });
    chmodSync(closed, 0o700);
    const dataDir = join(closed, 'data');
    const first = await start({ dataDir, instanceId: 'one' });
    const [directory] = await ask<string>(first, 'SHOW data_directory');
    expect(directory).toMatch(new RegExp(`^${root}/outside/[0-9a-f]{8}/postgres-18$`));
    await ask(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();

    chmodSync(closed, 0o755);
    const second = await start({ dataDir, instanceId: 'one' });
    expect(await ask(second, 'SELECT answer FROM kept')).toEqual([42]);
    await second.stop();
    // Another instance at the same path does not find the old one's database.
    const third = await start({ dataDir, instanceId: 'two' });
    expect(await ask(third, 'SHOW data_directory')).toEqual([join(dataDir, 'postgres-18')]);
  });

  it('an installation out of reach has its binaries copied once, beside a database elsewhere', async () => {
    const closed = join(root, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const machine = packageWithoutLinks(join(closed, 'package'));
    await (await start({ machine })).stop();
    const [name] = readdirSync(join(root, 'outside'));
    const copy = copyPath(locatePlatformPackage(machine), join(root, 'outside', name!));
    const made = statSync(copy).ctimeMs;
    expect(statSync(copy).uid).toBe(0);
    expect(existsSync(join(options.dataDir, 'postgres-18'))).toBe(false);
    const database = await start({ machine });
    expect(await ask(database, 'SELECT 1')).toEqual([1]);
    expect(statSync(copy).ctimeMs).toBe(made);
  });

  it('a database that exists and is out of reach is an error, and no second one is made', async () => {
    await (await start()).stop();
    chmodSync(root, 0o700);
    await expect(start()).rejects.toThrow(`can not be reached by account ${account.name}`);
    expect(existsSync(join(root, 'outside'))).toBe(false);
  });

  it('a database that belongs to another ordinary account is run by that account', async () => {
    const nobody = findAccount(['nobody'])!;
    await (await start()).stop();
    spawnSync('chown', ['-R', `${nobody.uid}:${nobody.gid}`, join(options.dataDir, 'postgres-18')]);
    const database = await start();
    expect(statSync(`/proc/${database.pid}`).uid).toBe(nobody.uid);
  });
});
