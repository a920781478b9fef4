import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { PROGRAM, runClaviger, temporaryDirectory } from '../support/processes.ts';
import { runningProcesses } from '../support/processes-table.ts';
import { until } from '../support/until.ts';

let dir: string | null = null;
let demo: ChildProcess | null = null;

afterEach(async () => {
  if (demo !== null && demo.exitCode === null && demo.signalCode === null) {
    demo.kill('SIGTERM');
    await once(demo, 'exit');
  }
  if (dir !== null) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  demo = null;
  dir = null;
});

/** Of the embedded PostgreSQL and the instances, which all have the directory in their command line or are children of such. */
const left = (directory: string) => runningProcesses().filter(({ command }) => command.includes(directory));

it('claviger demo --run makes its tour, finds everything as it says, and leaves nothing behind', async () => {
  dir = await temporaryDirectory('claviger-demo-test-');
  const { code, stdout, stderr } = await runClaviger(['demo', '--run'], {
    env: { TMPDIR: dir },
    timeoutMs: 150_000,
  });
  expect([code, stderr]).toEqual([0, '']);
  for (const line of [
    /^1\. Make a key on the admin\.\n {3}sk-c1\S+ is made\.$/m,
    /^ {3}eu: 200, \d+ ms after/m,
    /^ {3}us: 200, \d+ ms after/m,
    /^ {3}The receipt says that 2 gateway processes of eu have applied it\.$/m,
    /^ {3}The receipt says that 2 gateway processes of us have applied it\.$/m,
    /^ {3}eu: 401\.\n {3}us: 401\.$/m,
    /^ {3}eu, without admin and database: \d\d+ calls, all 200;/m,
    /^ {3}us, without admin and database: \d\d+ calls, all 200;/m,
    /^ {3}Both are back after [\d.]+ s; a new key works in both regions\.$/m,
    /^ {3}us is back after [\d.]+ s; its first call: 200\.$/m,
    /^Everything was as it should be\.$/m,
  ]) {
    expect(stdout).toMatch(line);
  }
  expect(readdirSync(dir)).toEqual([]);
  expect(left(dir)).toEqual([]);
}, 180_000);

it('claviger demo prints addresses and a tour, starts again what was killed, and ends with Ctrl-C', async () => {
  dir = await temporaryDirectory('claviger-demo-test-');
  const place = join(dir, 'kept');
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: dir };
  demo = spawn(process.execPath, [PROGRAM, 'demo', '--dir', place], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [demo.stdout, demo.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  await until('the tour is printed', () => (said.includes('Ctrl-C ends all of it.') ? true : null), 90_000);
  const [, masterKey] = /master key +(\S+)/.exec(said)!;
  const [, admin] = /admin +(http:\S+)/.exec(said)!;
  const [, us, group] = /region us +(http:\S+) +process group (\d+)/.exec(said)!;
  const [, postgres] = /PostgreSQL +process (\d+)/.exec(said)!;
  const headers = { authorization: `Bearer ${masterKey}`, 'content-type': 'application/json' };
  const made = await fetch(`${admin}/key/generate`, { method: 'POST', headers, body: '{}' });
  expect(made.status).toBe(200);

  process.kill(-Number(group), 'SIGKILL');
  await until('the worker runs again', () => (/The worker in us runs again/.test(said) ? true : null), 60_000);
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hi' }] });
  expect((await fetch(`${us}/v1/chat/completions`, { method: 'POST', headers, body })).status).toBe(200);

  const ended = once(demo, 'exit');
  demo.kill('SIGINT');
  expect(await ended).toEqual([0, null]);
  expect(left(dir)).toEqual([]);
  expect(runningProcesses().some(({ pid }) => pid === Number(postgres))).toBe(false);
  await expect(fetch(`${us}/health/liveliness`)).rejects.toThrow();
  // Its own directory is kept.
  expect(existsSync(join(place, 'us.log'))).toBe(true);
}, 180_000);
