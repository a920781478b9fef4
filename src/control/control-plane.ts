import type { Server } from 'node:http';
import type { Hono } from 'hono';
import { resetRules } from '../domain/budget-period.ts';
import type { Position } from '../domain/change.ts';
import type { ConfigSource } from '../domain/config-source.ts';
import type { PriceSource } from '../domain/configuration.ts';
import type { CostMap } from '../domain/cost-map.ts';
import { FRESHNESS_INTERVAL_MAX_MS, fenceTimes, freshnessIntervalMs } from '../domain/fence.ts';
import type { LeaseAsk, LeaseReply } from '../feed/protocol.ts';
import type { Log } from '../observe/log.ts';
import { type MetricFamily, MetricRegistry } from '../observe/metrics.ts';
import type { Settings } from '../settings/settings.ts';
import { databaseAddress } from '../storage/connection.ts';
import { type Database, DatabaseBusy, DatabaseRefused, DatabaseUnavailable } from '../storage/db.ts';
import { createDatabase } from '../storage/pool.ts';
import { CONTROL_ID_SUFFIX } from '../storage/repositories/heartbeat.ts';
import { openRevisionLine, type RevisionLine } from '../storage/revision-line.ts';
import { createStaleReads, REPLICA_CONNECT_TIMEOUT_MS } from '../storage/stale-reads.ts';
import type { Clock } from '../util/clock.ts';
import { type RandomBytes, uuidV7Source } from '../util/uuid-v7.ts';
import { connectionBudget } from './connection-budget.ts';
import type { ControlContext } from './context.ts';
import { createAnswerPing } from './fleet/answer-ping.ts';
import { ChangeTail } from './fleet/change-tail.ts';
import { createFeedServer } from './fleet/feed-server.ts';
import { FleetEvents } from './fleet/fleet-events.ts';
import { watchFleet } from './fleet/fleet-metrics.ts';
import { FleetReporter } from './fleet/fleet-report.ts';
import { PRESENCE_INTERVAL_MS } from './fleet/gateway-state.ts';
import { Heartbeat } from './fleet/heartbeat.ts';
import { EnrolledInstances } from './fleet/join/enrolled-instances.ts';
import { createSignedFeed, type SignedFeed } from './fleet/join/signed-feed.ts';
import { createReadFleet } from './fleet/read-fleet.ts';
import { Receipts } from './fleet/receipt.ts';
import { Registry } from './fleet/registry.ts';
import { createTakeDenials } from './fleet/take-denials.ts';
import { presentChange } from './handlers/fleet/present-change.ts';
import { createApp } from './http/app.ts';
import { createControlMetrics, watchControlState } from './metrics.ts';
import { LeaseAnswers } from './money/answer-lease-ask.ts';
import { ForeignUsage, ingestUsage } from './money/ingest.ts';
import { type OpenedDatabase, openDatabase } from './open-database.ts';
import { PriceListTurns } from './prices/price-list-turns.ts';

export interface ControlPlaneOptions {
  readonly settings: ControlContext['settings'] &
    Pick<
      Settings,
      'databaseConnectionPoolLimit' | 'directUrl' | 'disableSchemaUpdate' | 'fenceMs' | 'readReplicaUrl' | 'role'
    >;
  readonly databaseUrl: string;
  /** The database is a child of this instance, and nobody else's. */
  readonly embeddedDatabase: boolean;
  readonly instanceId: string;
  readonly config: () => ConfigSource;
  readonly envValue: (name: string) => string | undefined;
  /** Of models that have no price of their own; shown, decides nothing here. */
  readonly prices: PriceSource;
  /** All that is known of prices, in LiteLLM's form. */
  readonly costMap: () => CostMap;
  /** Its monotonic time goes on while the machine is suspended (`ElapsedClock`). */
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly versions: ControlContext['versions'];
  readonly log: Log;
  /** The database can not be used, and trying again does not help; a sentence for the operator. */
  readonly onFatal: (error: Error) => void;
  /** Gateway processes have something to serve from: a database that refuses is then waited for, as one that is away. Absent: no. */
  readonly canServeWithout?: () => boolean;
}

export interface ControlPlane {
  readonly app: Hono;
  readonly feedServer: Server;
  /** The feed for joined workers, on the socket of the management API. */
  readonly signedFeed: SignedFeed;
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
  const budget = connectionBudget(settings);
  const db = createDatabase({ url: databaseUrl, connectionsMax: budget.pool, log });
  const registry = new Registry(clock);
  let line: RevisionLine | null = null;
  const tail = new ChangeTail({
    db: { ask: (statements) => (line ?? db).ask(statements) },
    clock,
    log,
    onHistoryReplaced: (before, now) => fail(new Error(historyReplaced(before, now))),
  });
  const staleReads = createStaleReads({
    primary: db,
    replica: openReplica(settings.readReplicaUrl, budget.replica, log),
    position: () => tail.position,
    clock,
    log,
  });
  watchControlState(metrics, { tail, registry, poolUsage: () => db.usage() });

  const enrolled = new EnrolledInstances({ db, clock, sealingKey: settings.sealingKey, log });

  let fleetKey: Buffer | null = null;
  let signing: Pick<OpenedDatabase, 'signingKey' | 'signingPublicKey'> | null = null;
  let retry: NodeJS.Timeout | null = null;
  let failed = false;
  let closed = false;

  const heartbeat = new Heartbeat({
    db,
    identity: {
      controlId: options.instanceId + CONTROL_ID_SUFFIX,
      instanceId: options.instanceId,
      role: settings.role,
      region: settings.region,
      version: options.versions.claviger,
    },
    clock,
    // Of an embedded database reads are proof enough, and who asks about this control process asks itself.
    intervalMs: options.embeddedDatabase
      ? FRESHNESS_INTERVAL_MAX_MS
      : Math.min(PRESENCE_INTERVAL_MS, freshnessIntervalMs(fenceTimes(settings.fenceMs))),
    log,
  });

  const feed = createFeedServer({
    tail,
    registry,
    db,
    fleetKey: () => fleetKey?.toString('base64') ?? null,
    ingest: (batch) => ingestUsage(batch, { db, log, onIngested: controlMetrics.ingested }),
    answerLeaseAsk: (ask) => answerLeaseAsk(ask),
    answerPing: createAnswerPing({
      tail,
      witness: () => (options.embeddedDatabase ? 'reads' : heartbeat.newest),
      clock,
      connectedCount: () => registry.size,
    }),
    takeDenials: createTakeDenials({
      db,
      tail,
      clock,
      newId: uuidV7Source(() => clock.nowMs(), options.randomBytes),
      sealingKey: settings.sealingKey,
    }),
    clock,
    random: Math.random,
    log,
  });
  const leases = new LeaseAnswers({
    db,
    rules: () => resetRules(options.config().litellmSettings),
    wallMs: clock.nowMs,
  });
  async function answerLeaseAsk(ask: LeaseAsk): Promise<LeaseReply> {
    const { position } = tail;
    if (position === null) throw new DatabaseUnavailable('the database has not been reached yet');
    if (ask.installation !== position.installation)
      throw new ForeignUsage(ask.gatewayId, ask.installation, position.installation);
    return leases.answer(ask);
  }
  const signedFeed = createSignedFeed({
    feed,
    enrolled,
    db,
    secrets: () =>
      signing === null || tail.position === null
        ? null
        : {
            installation: tail.position.installation,
            installationKey: signing.signingPublicKey,
            signingKey: signing.signingKey,
            sealingKey: settings.sealingKey,
          },
    serverRootPath: settings.serverRootPath,
    clock,
    log,
  });
  const fence = fenceTimes(settings.fenceMs);
  const { instanceId } = options;
  const reporter = new FleetReporter({ db, registry, tail, instanceId, clock, random: Math.random, log });
  const readFleet = createReadFleet({ db, staleReads, reporter, fence });
  const receipts = new Receipts({ db, registry, reporter, tail, region: settings.region, fence, clock, log });
  const run = Buffer.from(options.randomBytes(8)).toString('hex');
  const fleetEvents = new FleetEvents({ db, tail, registry, readFleet, presentChange, run, log });
  const priceListTurns = new PriceListTurns({ db, readFleet, registry, log });
  // Workers know themselves; who looks after the fleet scrapes an admin.
  const stopWatching = settings.flags.disableAdminEndpoints ? () => undefined : watchFleet(metrics, { readFleet, log });
  const app = createApp({
    ...options,
    reporter,
    readFleet,
    receipts,
    fleetEvents,
    db,
    enrolled,
    staleReads,
    fleetKey: () => fleetKey,
    tail,
    registry,
    metrics: controlMetrics,
  });

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
    // Before anybody can ask, so that the first answer proves something.
    await heartbeat.run();
    if (closed) return;
    fleetKey = opened.fleetKey;
    signing = opened;
    tail.start(opened.position, readAtMs);
    reporter.start();
    priceListTurns.start();
    line = openRevisionLine({ url: directUrl, pool: db, onHint: () => void tail.poll(), log });
    const { installation, epoch, rev } = opened.position;
    log.info({ installation, epoch, rev }, 'database opened');
  }

  const opened = new Promise<void>((resolve, reject) => {
    let said = false;
    const attempt = (): void => {
      open().then(resolve, (error: Error) => {
        if (closed) return;
        const passesBy = error instanceof DatabaseUnavailable || error instanceof DatabaseBusy;
        const refused = error instanceof DatabaseRefused && options.canServeWithout?.() !== true;
        if (!passesBy || refused) {
          fail(error);
          reject(error);
          return;
        }
        if (!said) log.warn({ err: error, database: databaseAddress(databaseUrl).description }, CAN_NOT_OPEN_YET);
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
    signedFeed,
    opened,
    collectMetrics: () => metrics.collect(),
    async close() {
      closed = true;
      if (retry !== null) clearTimeout(retry);
      enrolled.stop();
      stopWatching();
      receipts.stop();
      fleetEvents.stop();
      priceListTurns.stop();
      // Before its streams end: what ends because we leave did not leave.
      await reporter.stop();
      await Promise.all([feed.close(), tail.stop(), line?.stop(), heartbeat.stop()]);
      await Promise.all([db.close(), staleReads.close()]);
    },
  };
}

const CAN_NOT_OPEN_YET =
  'the database can not be opened yet; it is tried again until it can. If this does not pass by itself, check DATABASE_URL (claviger doctor looks at it)';

function openReplica(url: string | null, connectionsMax: number, log: Log): Database | null {
  if (url === null || connectionsMax === 0) return null;
  return createDatabase({ url, connectionsMax, log, connectTimeoutMs: REPLICA_CONNECT_TIMEOUT_MS });
}

function historyReplaced(before: Position, now: Position): string {
  return before.installation === now.installation
    ? `The database went from ${before.epoch}/${before.rev} to ${now.epoch}/${now.rev}: it was restored or replaced while this process ran.`
    : `The database is now installation ${now.installation}, and it was installation ${before.installation} when this process started.`;
}
