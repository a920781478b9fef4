import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { inspectDatabase } from '../storage/inspect-database.ts';
import { shippedMigrations } from '../storage/migrate.ts';
import type { Check } from './doctor/check.ts';
import { runCli } from './run-cli.ts';

let database: TestDatabase;
let cwd: string;
beforeEach(async () => {
  database = await createTestDatabase();
  cwd = mkdtempSync(join(tmpdir(), 'cli-'));
});
afterEach(async () => {
  await database.drop();
  rmSync(cwd, { recursive: true, force: true });
});

const newest = shippedMigrations().at(-1)!.version;

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let out = '';
  let err = '';
  const code = await runCli(args, {
    env: { DATABASE_URL: database.url, LITELLM_MASTER_KEY: 'sk-m', LITELLM_SALT_KEY: 'sk-s', ...env },
    cwd,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}

async function doctor(env: Record<string, string> = {}) {
  const { code, out } = await run(['doctor', '--json'], env);
  return { code, checks: new Map((JSON.parse(out) as Check[]).map((check) => [check.name, check])) };
}

it('migrate brings an empty database up to date, once', async () => {
  expect((await run(['migrate', '--check'])).code).toBe(1);
  const first = await run(['migrate']);
  expect(first.err).toBe('');
  expect(first.out).toContain(`The schema went from version 0 to ${newest}.`);
  expect(await run(['migrate', '--check'])).toEqual({
    code: 0,
    out: `The schema is at version ${newest}; nothing to do.\n`,
    err: '',
  });
});

it('doctor tells version, schema and clock of the database and changes nothing', async () => {
  const before = await doctor();
  expect(before.checks.get('database')).toMatchObject({
    status: 'ok',
    message: expect.stringMatching(/^PostgreSQL \d+/),
  });
  expect(before.checks.get('database schema')).toMatchObject({
    status: 'ok',
    message: expect.stringContaining('not made yet'),
  });
  expect(before.checks.get('clock')?.status).toBe('ok');
  expect((await inspectDatabase(database.url, Date.now)).schemaVersion).toBe(0);

  expect((await doctor({ DISABLE_SCHEMA_UPDATE: 'true' })).checks.get('database schema')).toMatchObject({
    status: 'fail',
    todo: 'Run "claviger migrate".',
  });
  await run(['migrate']);
  const after = await doctor({ DISABLE_SCHEMA_UPDATE: 'true', DIRECT_URL: database.directUrl });
  expect(after.checks.get('database schema')).toMatchObject({ status: 'ok', message: `version ${newest}` });
  expect(after.checks.get('direct database')?.status).toBe('ok');
  expect(after.code).toBe(0);
});

it('doctor measures the clock against the database', async () => {
  const { clockAheadMs } = await inspectDatabase(database.url, () => Date.now() + 3_600_000);
  expect(Math.abs(clockAheadMs - 3_600_000)).toBeLessThan(2_000);
});
