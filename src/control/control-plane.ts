import type { Server } from 'node:http';
import type { Hono } from 'hono';
import type { Position } from '../domain/change.ts';
import type { ConfigSource } from '../domain/config-source.ts';
import type { Log } from '../observe/log.ts';
import { type MetricFamily, MetricRegistry } from '../observe/metrics.ts';
import type { Settings } from '../settings/settings.ts';
import { DatabaseBusy, DatabaseUnavailable } from '../storage/db.ts';
import { createDatabase } from '../storage/pool.ts';
import { listenForRevisions, type RevisionListener } from '../storage/revision-listener.ts';
import type { Clock } from '../util/clock.ts';
import type { RandomBytes } from '../util/uuid-v7.ts';
import type { ControlContext } from './context.ts';
import { ChangeTail } from './fleet/change-tail.ts';
import { createFeedServer } from './fleet/feed-server.ts';
import { Registry } from './fleet/registry.ts';
import { createApp } from './http/app.ts';
import { createControlMetrics, watchControlState } from './metrics.ts';
import { ingestUsage } from './money/ingest.ts';
import { openDatabase } from './open-database.ts';

export interface ControlPlaneOptions {
  readonly settings: ControlContext['settings'] &
    Pick<Settings, 'databaseConnectionPoolLimit' | 'directUrl' | 'disableSchemaUpdate'>;
  readonly databaseUrl: string;
  readonly config: () => ConfigSource;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly versions: ControlContext['versions'];
  readonly log: Log;
  /** The database can not be used, and trying again does not help; a sentence for the operator. */
  readonly onFatal: (error: Error) => void;
}

export interface ControlPlane {
  readonly app: Hono;
  readonly feedServer: Server;
  /** Resolves when the database was opened for the first time; rejects with what `onFatal` gets. */
  readonly opened: Promise<void>;
  collectMetrics(): MetricFamily[];
  close(): Promise<void>;
}

/** Between two attempts to open a database that is away. */
export const OPEN_RETRY_MS = 500;

/**
 * Everything of the control plane but its sockets. It works from the first moment: while the database is away, management answers 503, and
 * subscribers are told to come back; it is opened as soon as it is there.
 */
export function createControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { settings, databaseUrl, clock, log, onFatal } = options;
  const metrics = new MetricRegistry();
  const controlMetrics = createControlMetrics(metrics);
  const db = createDatabase({ url: databaseUrl, connectionsMax: settings.databaseConnectionPoolLimit, log });
  const registry = new Registry();
  const tail = new ChangeTail({
    db,
    clock,
    log,
    onHistoryReplaced: (before, now) => fail(new Error(historyReplaced(before, now))),
  });
  watchControlState(metrics, { tail, registry, poolUsage: () => db.usage() });

  let fleetKey: Buffer | null = null;
  let listener: RevisionListener | null = null;
  let retry: NodeJS.Timeout | null = null;
  let failed = false;
  let closed = false;

  const feed = createFeedServer({
    tail,
    registry,
    db,
    fleetKey: () => fleetKey?.toString('base64') ?? null,
    ingest: (batch) => ingestUsage(batch, { db, log, onIngested: controlMetrics.ingested }),
    log,
  });
  const app = createApp({ ...options, db, fleetKey: () => fleetKey, tail, registry, metrics: controlMetrics });

  function fail(error: Error): void {
    if (failed || closed) return;
    failed = true;
    onFatal(error);
  }

  const directUrl = settings.directUrl ?? databaseUrl;

  async function open(): Promise<void> {
    const { disableSchemaUpdate, sealingKey } = settings;
    const readAtMs = clock.monotonicMs();
    const opened = await openDatabase({ db, migrationUrl: directUrl, disableSchemaUpdate, sealingKey, log });
    if (closed) return;
    fleetKey = opened.fleetKey;
    tail.start(opened.position, readAtMs);
    listener = listenForRevisions(directUrl, () => void tail.poll(), log);
    const { installation, epoch, rev } = opened.position;
    log.info({ installation, epoch, rev }, 'database opened');
  }

  const opened = new Promise<void>((resolve, reject) => {
    let said = false;
    const attempt = (): void => {
      open().then(resolve, (error: Error) => {
        if (closed) return;
        if (!(error instanceof DatabaseUnavailable || error instanceof DatabaseBusy)) {
          fail(error);
          reject(error);
          return;
        }
        if (!said) log.warn({ err: error }, 'the database can not be opened yet; it is tried again until it can');
        said = true;
        retry = setTimeout(attempt, OPEN_RETRY_MS);
      });
    };
    attempt();
  });
  // Who does not wait for it still hears of a failure by `onFatal`.
  opened.catch(() => undefined);

  return {
    app: app as unknown as Hono,
    feedServer: feed.server,
    opened,
    collectMetrics: () => metrics.collect(),
    async close() {
      closed = true;
      if (retry !== null) clearTimeout(retry);
      await Promise.all([feed.close(), tail.stop(), listener?.stop()]);
      await db.close();
    },
  };
}

function historyReplaced(before: Position, now: Position): string {
  return before.installation === now.installation
    ? `The database went from ${before.epoch}/${before.rev} to ${now.epoch}/${now.rev}: it was restored or replaced while this process ran.`
    : `The database is now installation ${now.installation}, and it was installation ${before.installation} when this process started.`;
}
