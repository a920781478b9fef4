import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChangeTail } from '../../src/control/fleet/change-tail.ts';
import { createFeedServer, type FeedServerOptions } from '../../src/control/fleet/feed-server.ts';
import { Registry } from '../../src/control/fleet/registry.ts';
import { createTakeDenials } from '../../src/control/fleet/take-denials.ts';
import { createDatabase } from '../../src/storage/pool.ts';
import { readPosition } from '../../src/storage/repositories/installation.ts';
import { systemClock } from '../../src/util/clock.ts';
import { listenOnSocket } from '../../src/util/unix-socket.ts';
import { silentLog } from './silent-log.ts';

export interface TestFeed {
  readonly socketPath: string;
  readonly registry: Registry;
  readonly tail: ChangeTail;
  /** As when the control process leaves. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

/** The feed server by itself, with its bounds as the test wants them, on a database that a control plane has made. */
export async function startFeed(url: string, options: Partial<FeedServerOptions> = {}): Promise<TestFeed> {
  const directory = mkdtempSync(join(tmpdir(), 'claviger-feed-'));
  const socketPath = join(directory, 'feed.sock');
  const db = createDatabase({ url, connectionsMax: 10, log: silentLog });
  const registry = new Registry();
  const tail = new ChangeTail({ db, clock: systemClock, log: silentLog, onHistoryReplaced: () => undefined });
  const readAtMs = systemClock.monotonicMs();
  tail.start(await db.read(readPosition), readAtMs);
  const feed = createFeedServer({
    tail,
    registry,
    db,
    fleetKey: () => Buffer.alloc(32, 7).toString('base64'),
    ingest: () => Promise.reject(new Error('no usage here')),
    answerLeaseAsk: () => Promise.reject(new Error('no budgets here')),
    answerPing: ({ sentAtMs }) => {
      const { epoch, rev } = tail.position!;
      const dbAgeMs = tail.dbAgeMs();
      return Promise.resolve({
        sentAtMs,
        epoch,
        rev,
        dbAgeMs,
        witnessRev: rev,
        witnessAgeMs: dbAgeMs,
        serverTimeMs: 0,
      });
    },
    takeDenials: createTakeDenials({ db, tail, clock: systemClock, newId: () => 'test', sealingKey: 'salt' }),
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    ...options,
  });
  await listenOnSocket(feed.server, socketPath);
  let left: Promise<void> | null = null;
  const leave = () => {
    left ??= feed.close();
    return left;
  };
  return {
    socketPath,
    registry,
    tail,
    leave,
    async close() {
      await Promise.all([leave(), tail.stop()]);
      await db.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
