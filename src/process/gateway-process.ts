/**
 * Composition root of a gateway process (a cluster worker): builds the data plane of one slot, serves at once from what is on
 * disk, and keeps itself current through the feed.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import type { ConfigSource } from '../domain/config-source.ts';
import { fenceTimes, freshnessIntervalMs } from '../domain/fence.ts';
import { FAKE_PROVIDER } from '../domain/provider-catalogue.ts';
import { AccessLog, NO_ACCESS_LOG } from '../gateway/access-log.ts';
import { createAuthenticate } from '../gateway/auth/authenticate.ts';
import { UnknownKeyWaits } from '../gateway/auth/unknown-key-waits.ts';
import { createRelay } from '../gateway/endpoints/relay-to-control.ts';
import { createGateway } from '../gateway/gateway.ts';
import { ConfigurationGuard } from '../gateway/live/configuration-guard.ts';
import { FeedClient } from '../gateway/live/feed-client.ts';
import { ForeignInstallationError } from '../gateway/live/foreign-installation.ts';
import { createGatewayStats, measureDisk, watchEventLoop } from '../gateway/live/gateway-stats.ts';
import { HeldDenials } from '../gateway/live/held-denials.ts';
import { LiveConfiguration } from '../gateway/live/live-configuration.ts';
import { LiveKnowledge } from '../gateway/live/live-knowledge.ts';
import { LocalSnapshots } from '../gateway/live/local-snapshots.ts';
import { MirrorKeeper } from '../gateway/live/mirror-keeper.ts';
import { PackedPrincipalStore } from '../gateway/live/packed/packed-principal-store.ts';
import { Pinger } from '../gateway/live/pinger.ts';
import { SnapshotMirror } from '../gateway/live/snapshot-mirror.ts';
import { restoreWitness, WitnessKeeper } from '../gateway/live/witness-file.ts';
import { UsageLog } from '../gateway/metering/usage-log.ts';
import { UsageShipper } from '../gateway/metering/usage-shipper.ts';
import { createFakeUpstream } from '../gateway/providers/fake/fake-upstream.ts';
import { UpstreamClient } from '../gateway/providers/upstream-client.ts';
import { RequestMetrics } from '../gateway/request-metrics.ts';
import { UnpricedModels } from '../gateway/routing/unpriced-models.ts';
import { DEFAULT_SERVER_LIMITS } from '../gateway/server.ts';
import { LITELLM_CONTRACT_VERSION } from '../gateway/versions.ts';
import { createLog, type Log } from '../observe/log.ts';
import { MetricRegistry } from '../observe/metrics.ts';
import { CostMapKeeper } from '../prices/cost-map-keeper.ts';
import { instancePrices } from '../prices/instance-prices.ts';
import { configSourceFor } from '../settings/config-source-for.ts';
import { secretsOfSettings, secretsOfSource } from '../settings/secrets.ts';
import type { Settings } from '../settings/settings.ts';
import { addressRanges } from '../util/address-ranges.ts';
import { readBootClock } from '../util/boot-clock.ts';
import { systemClock } from '../util/clock.ts';
import { ElapsedClock } from '../util/elapsed-clock.ts';
import { packageVersion } from '../util/package-version.ts';
import { uuidV7Source } from '../util/uuid-v7.ts';
import { CannotRun, type ChildContext, type ChildService, runChild } from './child-life-cycle.ts';
import { feedConnection } from './feed-connection.ts';
import { fetchCostMap } from './fetch-cost-map.ts';
import { keepShippingOrphans } from './keep-shipping-orphans.ts';
import type { ToSupervisor } from './messages.ts';
import { createBudgetService } from './start-budgets.ts';
import { createLimiterService } from './start-limiter.ts';

/** Part of the drain time that is kept for shipping what the last requests wrote. */
const SHIP_AT_EXIT_MS = 3_000;

// Small buffers come from slabs of this size. Every request needs several, and a slab is a garbage collected object of its own.
Buffer.poolSize = 64 * 1024;

runChild(startGatewayProcess);

async function startGatewayProcess({ boot, askMetrics }: ChildContext): Promise<ChildService> {
  const { settings, paths, instanceId, session } = boot;
  const slot = boot.slot ?? 0;
  const slotDir = paths.slotDir;
  if (slotDir === null) throw new CannotRun('a gateway process was started without a slot directory');
  const version = packageVersion();
  const log = createLog(settings.log).child({ process: `gateway-${slot}` });
  for (const secret of secretsOfSettings(settings)) log.hide(secret);
  const clock = systemClock;
  const registry = new MetricRegistry();

  const store = new PackedPrincipalStore();
  const snapshots = new LocalSnapshots({ directory: slotDir, store, log, region: settings.region });
  const mirror = snapshotMirror(settings);
  const witnessDirs = [slotDir];
  let isCopyOfAnother = false;
  if (snapshots.restore(null) === null) {
    const others = otherSlots(settings.dataDir, slotDir);
    // Whose copy it is does not matter to a witness; but one that nobody keeps any more is asked only where there is no other.
    if (snapshots.borrow(others) !== null) witnessDirs.push(...others);
    else if (mirror !== null) {
      isCopyOfAnother = true;
      await startFromMirror(mirror, slotDir, snapshots, log);
    }
  }
  const fences = fenceTimes(settings.fenceMs);
  const elapsed = new ElapsedClock(clock);
  const guard = new ConfigurationGuard({ directory: slotDir, log });
  const prices = instancePrices(settings, log, () => live.pricesChanged());
  const unpriced = new UnpricedModels(log);
  const live = new LiveConfiguration({
    store,
    settings,
    readFile: () => readFile(settings, log),
    prices: prices.source,
    envValue: (name) => process.env[name],
    guard,
    log,
    onChange: (configuration) => {
      knowledge.configuration = configuration;
      unpriced.noteAll(configuration);
    },
  });
  unpriced.noteAll(live.current);
  const restored = restoreWitness(witnessDirs, store.position, elapsed.monotonicMs(), readBootClock());
  const knowledge = new LiveKnowledge(store, live.current, elapsed, {
    fences,
    // Between machines there are only wall clocks, and how far two of them differ is not known.
    restored: restored !== null && isCopyOfAnother ? { ...restored, certain: false } : restored,
  });
  const witnessKeeper = new WitnessKeeper({
    directory: slotDir,
    installation: () => store.position?.installation ?? null,
    witness: () => knowledge.witness,
    nowMs: () => knowledge.nowMs(),
    readBootClock,
    intervalMs: freshnessIntervalMs(fences),
    log,
  });
  witnessKeeper.begin();
  const mirrorKeeper =
    mirror === null || slot !== 0
      ? null
      : new MirrorKeeper({
          mirror,
          slotDir,
          position: () => snapshots.persisted,
          witnessAtMs: () => {
            const { witness } = knowledge;
            return witness === null ? null : clock.nowMs() - (knowledge.nowMs() - witness.atMs);
          },
          clock,
          log,
        });
  const usageLog = new UsageLog({ directory: slotDir, installation: store.position?.installation ?? null, clock, log });

  const isJoined = settings.controlPlaneUrls.length > 0;
  const { transport, ...connection } = feedConnection(settings, paths.feedSocket, { clock, log });
  const gatewayId = `${instanceId}/${slot}`;
  const leaving = new AbortController();
  let adopted = false;
  /** What slots without a process left behind, from when it is known whose control plane this is. */
  const adoptOrphans = (installation: string): void => {
    if (adopted || slot !== 0) return;
    adopted = true;
    void keepShippingOrphans({
      dataDir: settings.dataDir,
      numWorkers: settings.numWorkers,
      instanceId,
      region: settings.region,
      installation,
      transport,
      keyEntry: (token) => store.key(token),
      clock,
      random: Math.random,
      log,
      signal: leaving.signal,
    });
  };
  const feed = new FeedClient({
    identity: {
      gatewayId,
      session,
      region: settings.region,
      role: settings.role,
      version,
      publicUrl: settings.publicUrl,
      startedAtMs: clock.nowMs(),
    },
    denials: new HeldDenials({ directory: slotDir, store, identity: { gatewayId, session }, transport, log }),
    transport,
    store,
    snapshots,
    knowledge,
    clock,
    random: Math.random,
    log,
    onSuperseded: () => {
      // Our supervisor starts no second process for a slot: it is another instance that says it is this one.
      if (isJoined && process.connected) {
        process.send?.({ type: 'end-instance', message: identityTaken(instanceId) } satisfies ToSupervisor);
        return;
      }
      log.warn({ gatewayId }, 'A newer process has taken this slot; this one ends');
      process.exit(0);
    },
    onForeignInstallation: (error) => stopForeign(error, Number.isFinite(knowledge.ageMs()), log),
    onCommand: (command) => {
      if (command === 'reload-prices') void costMap?.refresh();
      if (command !== 'drain') return;
      log.info({}, 'An operator asked this instance to finish and end');
      process.send?.({ type: 'drain-instance' } satisfies ToSupervisor);
    },
    onApplied: () => live.storeChanged(),
    configReport: () => live.report(),
    onPosition: ({ installation }) => {
      try {
        usageLog.bindInstallation(installation);
      } catch (error) {
        if (error instanceof ForeignInstallationError) stopForeign(error, false, log);
        throw error;
      }
      adoptOrphans(installation);
      // Called before a snapshot is swapped in; behind this turn it is in force.
      queueMicrotask(() => knowledge.applied());
    },
    ...connection,
  });
  const pinger = new Pinger({
    transport,
    identity: { gatewayId, session },
    knowledge,
    // Not before `run`, when all that it reads is there.
    stats: () => stats(),
    isLive: () => feed.connected,
    wallMs: clock.nowMs,
    random: Math.random,
    log,
    intervalMs: freshnessIntervalMs(fences),
    intervalMaxMs: Math.min(fences.normal, fences.strict) / 4,
  });
  const waits = new UnknownKeyWaits({ nowMs: () => knowledge.nowMs(), askNow: pinger.askNow });
  knowledge.onDated = (readAtMs) => {
    waits.dated(readAtMs);
    witnessKeeper.keepFirst();
  };
  knowledge.onConfirmed = () => pinger.feedIsAlive();
  const shipper = new UsageShipper({
    usageLog,
    transport,
    gatewayId,
    region: settings.region,
    keyEntry: (token) => store.key(token),
    clock,
    random: Math.random,
    log,
  });

  const money = createBudgetService({
    directory: slotDir,
    usageLog,
    transport,
    identity: { gatewayId, session },
    bootId: readBootClock().bootId,
    clock: elapsed,
    random: Math.random,
    registry,
    log,
  });

  let draining = false;
  let takesCalls = true;
  const fake = createFakeUpstream();
  const network = new UpstreamClient(settings.outbound, clock);
  const relay = isJoined ? null : createRelay(paths.controlSocket);
  const metrics = new RequestMetrics(registry);
  const limits = createLimiterService(
    { ...settings, slot, socketDir: paths.socketDir, instanceId, session },
    { clock, log, registry },
  );
  metrics.onUnpriced = (deployment) => unpriced.note(deployment);
  const accessLog = new AccessLog({ json: settings.log.json, write: (text) => process.stdout.write(text) });
  const gateway = createGateway({
    context: {
      knowledge,
      authenticate: createAuthenticate({
        knowledge,
        masterKey: isJoined ? null : settings.masterKey,
        clock,
        waits,
        onWaited: (outcome) => metrics.unknownKeyWaits[outcome].inc(),
      }),
      usage: usageLog,
      purse: money.purse,
      upstreamOf: (deployment) => (deployment.provider === FAKE_PROVIDER ? fake : network),
      clock,
      newId: uuidV7Source(clock.nowMs, randomBytes),
      random: Math.random,
      log,
      accessLog: log.isEnabled('info') ? accessLog : NO_ACCESS_LOG,
      metrics,
      limiter: limits.limiter,
      flags: settings.flags,
      region: settings.region,
      serverRootPath: settings.serverRootPath,
      isDraining: () => draining,
      takesCalls: () => takesCalls,
      trustsProxy: settings.trustedProxies.length === 0 ? () => false : addressRanges(settings.trustedProxies),
      bodyBytesMax: settings.bodyBytesMax,
      responseHeldBytesMax: settings.responseHeldBytesMax,
      staticHeaders: [
        'x-litellm-version',
        LITELLM_CONTRACT_VERSION,
        'x-claviger-version',
        version,
        'x-claviger-region',
        settings.region,
      ],
    },
    relay,
    cors: { origins: settings.corsOrigins, allowCredentials: settings.corsAllowCredentials },
    metricsText: askMetrics,
    limits: DEFAULT_SERVER_LIMITS,
    tls: settings.tls,
    log,
  });
  const costMap =
    slot === 0
      ? new CostMapKeeper({
          ...prices,
          source: settings.modelCostMap,
          fetchText: (url) => fetchCostMap(url, settings.outbound),
          configuration: () => live.current,
          log,
          onRefreshed: (outcome, heldCount) => metrics.pricesRead(outcome, heldCount),
        })
      : null;
  registerProcessMetrics(registry, slot, { store, knowledge, live, usageLog, shipper });

  const eventLoop = watchEventLoop();
  const stats = createGatewayStats({
    monotonicMs: clock.monotonicMs,
    stalenessMs: () => knowledge.stalenessMs('normal'),
    clockOffsetMs: () => pinger.clockOffsetMs,
    store,
    config: () => live.report(),
    usageLog,
    shipper,
    requests: metrics,
    isDraining: () => draining,
    dependencies: () => ({ controlPlane: transport.address ?? null, mirror: mirrorKeeper?.state ?? null }),
    eventLoop,
    disk: () => measureDisk(slotDir),
  });

  feed.run();
  pinger.run();
  witnessKeeper.run();
  mirrorKeeper?.run();
  shipper.run();
  money.run();
  prices.copy.run();
  void costMap?.refresh();
  if (store.position !== null) adoptOrphans(store.position.installation);
  await limits.start();
  await listen(gateway.server, settings);

  return {
    async drain(noticeMs) {
      draining = true;
      // At once: the next process of this slot may start while this one finishes its streams.
      const settled = guard.close();
      leaving.abort();
      relay?.endFeeds();
      const impatience = new AbortController();
      const cut = setTimeout(
        () => {
          impatience.abort();
          gateway.destroy();
        },
        Math.max(0, settings.drainTimeoutMs - SHIP_AT_EXIT_MS),
      );
      await gateway.drain({
        noticeMs,
        openCalls: () => metrics.inFlight.value,
        onNoticeOver: () => {
          takesCalls = false;
        },
        signal: impatience.signal,
      });
      clearTimeout(cut);
      relay?.close();
      await limits.stop();
      await money.stop();
      await shipper.drain(SHIP_AT_EXIT_MS);
      await pinger.sayGoodbye();
      pinger.stop();
      eventLoop.stop();
      prices.copy.stop();
      feed.stop();
      await witnessKeeper.close();
      await mirrorKeeper?.close();
      await usageLog.close();
      await snapshots.close();
      await settled;
      accessLog.flush();
      await network.close();
    },
    reload() {
      try {
        live.reload();
        void costMap?.refresh();
        log.info({ configFilePath: settings.configFilePath }, 'Configuration reloaded');
      } catch (error) {
        log.error({ error }, 'The configuration file can not be used; the previous configuration stays in force');
      }
    },
    collectMetrics: () => registry.collect(),
  };
}

/** The file of this instance, or its built-in models; warnings go to the log. */
function readFile(settings: Settings, log: Log): ConfigSource {
  const { source, warnings } = configSourceFor(settings, process.env);
  for (const secret of secretsOfSource(source)) log.hide(secret);
  for (const warning of warnings) log.warn({}, warning);
  return source;
}

function identityTaken(instanceId: string): string {
  return `Another worker has connected as instance ${instanceId}, with the key of this one: most likely its data directory is a copy of this one's. One of the two has to become itself: stop it, remove instance.json and identity/ from its data directory, and let it join with a new token. This one ends, because it would not hear of changes any more.`;
}

function snapshotMirror(settings: Settings): SnapshotMirror | null {
  const { sealingKey, snapshotMirror: location } = settings;
  if (location === null) return null;
  // What joined workers hold is sealed with another key, so it is of use among themselves only.
  const region = settings.controlPlaneUrls.length > 0 ? `joined-${settings.region}` : settings.region;
  const key = Buffer.from(hkdfSync('sha256', sealingKey, 'claviger', 'snapshot mirror', 32));
  return new SnapshotMirror({ location, region, key, clock: systemClock });
}

/** Nothing of our own on the disk: what a worker of the fleet has put away. A mirror that can not be used is as good as none. */
async function startFromMirror(
  mirror: SnapshotMirror,
  slotDir: string,
  snapshots: LocalSnapshots,
  log: Log,
): Promise<void> {
  try {
    const head = await mirror.restoreInto(slotDir);
    if (head === null) log.info({}, 'There is no snapshot mirror of this region yet');
    else
      log.info(
        { writtenAtMs: head.writtenAtMs, position: snapshots.restore(null) },
        'Started from the snapshot mirror',
      );
  } catch (error) {
    log.warn({ error }, 'The snapshot mirror can not be used; the process waits for its control plane');
  }
}

function otherSlots(dataDir: string, slotDir: string): string[] {
  return readdirSync(dataDir)
    .filter((name) => /^gateway-\d{1,6}$/.test(name))
    .map((name) => join(dataDir, name))
    .filter((directory) => directory !== slotDir);
}

function listen(server: Server, settings: Settings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: Error & { code?: string }) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new CannotRun(`Port ${settings.port} is in use by another program. Choose another one with --port.`)
          : error.code === 'EACCES'
            ? new CannotRun(`Port ${settings.port} may not be used by this account. Choose one above 1023 with --port.`)
            : new CannotRun(`Listening on ${settings.host}:${settings.port} failed: ${error.message}`),
      );
    });
    server.listen({ host: settings.host, port: settings.port }, () => resolve());
  });
}

function registerProcessMetrics(
  registry: MetricRegistry,
  slot: number,
  {
    store,
    knowledge,
    live,
    usageLog,
    shipper,
  }: {
    readonly store: Pick<PackedPrincipalStore, 'accountCount' | 'accountsWithoutRoom'>;
    readonly knowledge: LiveKnowledge;
    readonly live: LiveConfiguration;
    readonly usageLog: UsageLog;
    readonly shipper: UsageShipper;
  },
): void {
  const label = String(slot);
  const rev = registry.gauge('claviger_config_rev', 'Configuration revision in force', ['gateway']).labels(label);
  const rejected = registry
    .gauge('claviger_config_rejected', '1 while the newest models and settings could not be used', ['gateway'])
    .labels(label);
  const age = registry
    .gauge('claviger_knowledge_age_seconds', 'Age of the newest confirmation by the database', ['gateway'])
    .labels(label);
  const staleness = registry.gauge('claviger_staleness_seconds', "Age of the fence's witness", ['gateway', 'fence']);
  const accounts = registry
    .gauge('claviger_accounts', 'Users, teams and other accounts held', ['gateway'])
    .labels(label);
  const withoutRoom = registry
    .gauge('claviger_accounts_without_room', 'Accounts beyond the most that are held; calls for them are refused', [
      'gateway',
    ])
    .labels(label);
  const rss = registry
    .gauge('claviger_process_resident_memory_bytes', 'Resident memory', ['process'])
    .labels(`gateway-${label}`);
  const backlog = registry
    .gauge('claviger_usage_log_backlog_records', 'Settlements that the database has not confirmed')
    .labels();
  const oldest = registry
    .gauge('claviger_usage_log_oldest_unshipped_seconds', 'Age of the oldest of them', [], { merge: 'max' })
    .labels();
  const open = registry.gauge('claviger_usage_log_open_calls', 'Calls with an intent and no settlement').labels();
  const refused = registry
    .gauge('claviger_usage_log_refused_intents', 'Calls refused since the start because the log could not be written')
    .labels();
  registry.beforeCollect(() => {
    backlog.set(shipper.backlogRecords);
    oldest.set(shipper.oldestUnshippedAgeMs / 1000);
    open.set(usageLog.openCount);
    refused.set(usageLog.counts.intentsRefused);
    rev.set(knowledge.position?.rev ?? 0);
    rejected.set(live.report().rejected === null ? 0 : 1);
    age.set(Math.min(knowledge.ageMs() / 1000, 1e9));
    for (const fence of ['normal', 'strict'] as const) {
      staleness.labels(label, fence).set(Math.min(knowledge.stalenessMs(fence) / 1000, 1e9));
    }
    accounts.set(store.accountCount);
    withoutRoom.set(store.accountsWithoutRoom);
    rss.set(process.memoryUsage.rss());
  });
}

/**
 * Two histories are never mixed: the process ends with a sentence that names both, and at the start of an instance the
 * operator decides. When the database was the right one before (`wasRight`), it is the one that changed: what is on disk is
 * served on, by a process that is started again and asks anew.
 */
function stopForeign(error: Error, wasRight: boolean, log: Log): void {
  log.error({}, error.message);
  process.send?.({ type: 'fatal', message: error.message, retry: wasRight }, () => process.exit(1));
}
