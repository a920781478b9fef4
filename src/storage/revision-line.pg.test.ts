import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChaosProxy } from '../../tests/support/chaos-proxy.ts';
import { startDatabaseProxy } from '../../tests/support/database-proxy.ts';
import { silentLog } from '../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { until } from '../../tests/support/until.ts';
import { createLog } from '../observe/log.ts';
import type { Database } from './db.ts';
import { createDatabase } from './pool.ts';
import { notifyRevision } from './repositories/change-log.ts';
import { openRevisionLine, type RevisionLine, type RevisionLineOptions } from './revision-line.ts';

let database: TestDatabase;
let db: Database;
let line: RevisionLine | null = null;
let proxy: ChaosProxy | null = null;
/** Questions that went to the pool. */
let pooled = 0;

beforeEach(async () => {
  database = await createTestDatabase();
  db = createDatabase({ url: database.url, connectionsMax: 2, log: silentLog });
  pooled = 0;
});
afterEach(async () => {
  await line?.stop();
  await db.close();
  await proxy?.close();
  proxy = null;
  line = null;
  await database.drop();
});

function open(options: Partial<RevisionLineOptions>): RevisionLine {
  const ask: Database['ask'] = (statements) => {
    pooled += 1;
    return db.ask(statements);
  };
  line = openRevisionLine({ url: database.url, pool: { ask }, onHint: () => undefined, log: silentLog, ...options });
  return line;
}

async function untilOpen(): Promise<void> {
  await until('the line answers', async () => {
    const before = pooled;
    await line!.ask(['select 1']);
    return pooled === before ? true : null;
  });
}

describe('a line to the revisions', () => {
  it('hears of a commit of another process, also of one that went through a pooler', async () => {
    let hints = 0;
    open({ url: database.directUrl, onHint: () => hints++ });
    await expect
      .poll(
        async () => {
          await db.write((tx) => notifyRevision(tx, 1));
          return hints;
        },
        { timeout: 5_000 },
      )
      .toBeGreaterThan(0);
  });

  it('says that it can not listen through a pooler, and asks all the same', async () => {
    const lines: string[] = [];
    const log = createLog({ level: 'info', json: true, write: (text) => lines.push(text) });
    let hints = 0;
    open({ onHint: () => hints++, log });
    const isPooled = database.url !== database.directUrl;
    if (isPooled) await expect.poll(() => lines.join('')).toContain('leads through a pooler');
    await expect
      .poll(
        async () => {
          await db.write((tx) => notifyRevision(tx, 1));
          return isPooled || hints > 0;
        },
        { timeout: 5_000 },
      )
      .toBe(true);
    expect([hints > 0, lines.length]).toEqual(isPooled ? [false, 1] : [true, 0]);
    await untilOpen();
  });

  it('asks one question after another without waiting for their answers, and gives each its own', async () => {
    open({});
    await untilOpen();
    const numbers = Array.from({ length: 12 }, (_, index) => index);
    const answers = await Promise.all(
      numbers.map((n) => line!.ask([`select pg_sleep(0.01)`, `select ${n} as n`]).then((rows) => rows[1]![0]!.n)),
    );
    expect(answers).toEqual(numbers);
  });

  it('that failed with a question is not asked again; the pool is, and the next line', async () => {
    open({});
    await untilOpen();
    await expect(line!.ask(['select nothing_of_that_name'])).rejects.toThrow('nothing_of_that_name');
    const before = pooled;
    expect(await line!.ask(['select 1 as one'])).toEqual([[{ one: 1 }]]);
    expect(pooled).toBe(before + 1);
    await untilOpen();
  });

  it('that is cut fails what was asked, and is opened again', async () => {
    const way = await startDatabaseProxy(database.directUrl);
    proxy = way.proxy;
    open({ url: way.url });
    await untilOpen();
    await proxy.set({ kind: 'half-open' });
    const lost = expect(line!.ask(['select 1'])).rejects.toThrow('can not be reached');
    await proxy.set({ kind: 'reset' });
    await lost;
    expect(await line!.ask(['select 1 as one'])).toEqual([[{ one: 1 }]]);
    await proxy.set({ kind: 'pass' });
    await untilOpen();
  });
});
