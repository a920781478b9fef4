import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pick } from '../support/length.ts';
import { processTree } from '../support/processes-table.ts';
import { until } from '../support/until.ts';
import { ChaosClaviger, MODEL, PRICES } from './chaos-claviger.ts';
import { checkBooks, type KnownCall } from './check-books.ts';
import { ClientLoad } from './client-load.ts';
import { reportMeasured } from './report.ts';
import { seededRandom } from './seeded-random.ts';

const AWAY_MS = pick(3_000, 60_000);
const CLIENTS = 4;
/** Enough for a control process that still waits for an answer of the database to give up on it. */
const UNAVAILABLE_WITHIN_MS = 30_000;
const TEST_MS = pick(120_000, 300_000);

let chaos: ChaosClaviger;
/** Of all tests here: the books are those of the whole life. */
const completed: KnownCall[] = [];
let count = 0;

beforeAll(async () => {
  chaos = await ChaosClaviger.start();
}, 90_000);
afterAll(() => chaos?.stop(), 60_000);

it(
  'a database that hangs fails no call, makes the management API say 503, and gets every row when it goes on',
  () =>
    outage('hangs', async (pid) => {
      // Its backends as well: they go on without the process that accepts connections.
      const pids = processTree(pid).map((process) => process.pid);
      for (const each of pids) process.kill(each, 'SIGSTOP');
      return () => {
        for (const each of pids) process.kill(each, 'SIGCONT');
      };
    }),
  TEST_MS,
);

it(
  'a database that is killed again and again fails no call, and gets every row when it stays',
  () =>
    outage('is killed again and again', async () => {
      let away = true;
      const killing = (async () => {
        while (away) {
          const pid = chaos.postgresPid();
          if (pid !== null) process.kill(pid, 'SIGKILL');
          await delay(20);
        }
      })();
      return async () => {
        away = false;
        await killing;
      };
    }),
  TEST_MS,
);

/** `begin` takes the database away and returns what brings it back. */
async function outage(how: string, begin: (pid: number) => Promise<() => void | Promise<void>>): Promise<void> {
  const key = await chaos.claviger.generateKey();
  await until('the key works in every gateway process', () => worksEverywhere(key));
  const random = seededRandom(++count);
  const { port } = chaos.claviger;
  const load = new ClientLoad({ port, keys: [key], model: MODEL, clients: CLIENTS, random, prefix: `outage-${count}` });
  const before = (await chaos.books([])).keySpendNano;
  let come: () => void | Promise<void> = () => {};
  const startedAtMs = performance.now();
  try {
    come = await begin(chaos.postgresPid() ?? 0);
    let attempt = 0;
    const refused = await until(
      'the management API says that the database is away',
      async () => {
        const answer = await chaos.claviger.api('POST', '/key/generate', { key_alias: `away-${count}-${++attempt}` });
        expect([200, 503]).toContain(answer.status);
        return answer.status === 503 ? answer : null;
      },
      UNAVAILABLE_WITHIN_MS,
    );
    expect(refused.json().error.type).toBe('no_db_connection');
    expect(refused.json().key).toBeUndefined();
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    const list = await chaos.claviger.api('GET', '/key/list');
    expect([list.status, Number(list.headers.get('retry-after')) > 0]).toEqual([503, true]);
    await delay(Math.max(0, AWAY_MS - (performance.now() - startedAtMs)));
    const answered = load.completed.length;
    await until('calls are answered on', () => (load.completed.length > answered ? true : null)).finally(() =>
      expect(load.failed, chaos.claviger.logs().slice(-4_000)).toEqual([]),
    );
  } finally {
    await come();
    await load.stop();
  }
  const awayMs = performance.now() - startedAtMs;
  const backAtMs = performance.now();
  await chaos.waitUntilQuiet();
  const caughtUpMs = performance.now() - backAtMs;
  completed.push(...load.completed);
  const books = await chaos.books(completed);
  expect(load.failed).toEqual([]);
  expect(checkBooks(books, PRICES)).toEqual([]);
  expect(books.rows.filter(({ estimated }) => estimated)).toEqual([]);
  expect(books.keySpendNano.size).toBeGreaterThan(before.size);
  expect((await chaos.claviger.api('POST', '/key/generate', { key_alias: `made-afterwards-${count}` })).status).toBe(
    200,
  );
  reportMeasured(
    `PostgreSQL ${how}`,
    `away for ${Math.round(awayMs / 1000)} s: ${load.completed.length} calls answered, 0 failed; management 503 with \`retry-after\`; every row booked ${Math.round(caughtUpMs)} ms after it was back`,
  );
}

async function worksEverywhere(key: string): Promise<true | null> {
  const asked = Array.from({ length: 8 }, () => chaos.claviger.api('GET', '/v1/models', undefined, key));
  return (await Promise.all(asked)).every(({ status }) => status === 200) ? true : null;
}
