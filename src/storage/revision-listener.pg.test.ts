import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { createLog } from '../observe/log.ts';
import type { Database } from './db.ts';
import { createDatabase } from './pool.ts';
import { notifyRevision } from './repositories/change-log.ts';
import { listenForRevisions, type RevisionListener } from './revision-listener.ts';

let database: TestDatabase;
let db: Database;
let listener: RevisionListener | null = null;

beforeEach(async () => {
  database = await createTestDatabase();
  db = createDatabase({ url: database.url, connectionsMax: 2, log: silentLog });
});
afterEach(async () => {
  await listener?.stop();
  await db.close();
  await database.drop();
});

describe('listening for revisions', () => {
  it('hears of a commit of another process, also of one that went through a pooler', async () => {
    let hints = 0;
    listener = listenForRevisions(database.directUrl, () => hints++, silentLog);
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

  it('says that it can not listen through a pooler, and does not try', async () => {
    const lines: string[] = [];
    const log = createLog({ level: 'info', json: true, write: (line) => lines.push(line) });
    let hints = 0;
    listener = listenForRevisions(database.url, () => hints++, log);
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
  });
});
