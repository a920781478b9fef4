/**
 * Composition root of a gateway process (a cluster worker): builds the data plane of one slot, serves at once from what is on
 * disk, and keeps itself current through the feed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { compileConfiguration } from '../domain/compile-configuration.ts';
import type { Configuration, PriceSource } from '../domain/configuration.ts';
import { FAKE_PROVIDER } from '../domain/provider-catalogue.ts';
import { AccessLog, NO_ACCESS_LOG } from '../gateway/access-log.ts';
import { createAuthenticate } from '../gateway/auth/authenticate.ts';
import { createRelay } from '../gateway/endpoints/relay-to-control.ts';
import { createGateway } from '../gateway/gateway.ts';
import { FeedClient } from '../gateway/live/feed-client.ts';
import { SocketFeedTransport } from '../gateway/live/feed-transport.ts';
import { ForeignInstallationError } from '../gateway/live/foreign-installation.ts';
import { LiveKnowledge } from '../gateway/live/live-knowledge.ts';
import { LocalSnapshots } from '../gateway/live/local-snapshots.ts';
import { MapPrincipalStore } from '../gateway/live/principal-store.ts';
import { UsageLog } from '../gateway/metering/usage-log.ts';
import { UsageShipper } from '../gateway/metering/usage-shipper.ts';
import { createFakeUpstream } from '../gateway/providers/fake/fake-upstream.ts';
import { UpstreamClient } from '../gateway/providers/upstream-client.ts';
import { RequestMetrics } from '../gateway/request-metrics.ts';
import { createGenaiPriceSource } from '../gateway/routing/genai-prices.ts';
import { DEFAULT_SERVER_LIMITS } from '../gateway/server.ts';
import { LITELLM_CONTRACT_VERSION } from '../gateway/versions.ts';
import { createLog, type Log } from '../observe/log.ts';
import { MetricRegistry } from '../observe/metrics.ts';
import { configSourceFor } from '../settings/config-source-for.ts';
import { secretsOfSettings, secretsOfSource } from '../settings/secrets.ts';
import type { Settings } from '../settings/settings.ts';
import { addressRanges } from '../util/address-ranges.ts';
import { systemClock } from '../util/clock.ts';
import { packageVersion } from '../util/package-version.ts';
import { uuidV7Source } from '../util/uuid-v7.ts';
import { CannotRun, type ChildContext, type ChildService, runChild } from './child-life-cycle.ts';
import { keepShippingOrphans } from './keep-shipping-orphans.ts';

/** Part of the drain time that is kept for shipping what the last requests wrote. */
const SHIP_AT_EXIT_MS = 3_000;
const LOCAL_BACK_OFF_MAX_MS = 250;

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
  const prices = createGenaiPriceSource();

  const store = new MapPrincipalStore();
  const snapshots = new LocalSnapshots({ directory: slotDir, store, log });
  if (snapshots.restore(null) === null) snapshots.borrow(otherSlots(settings.dataDir, slotDir));
  const knowledge = new LiveKnowledge(store, compiled(settings, prices, log), clock);
  const usageLog = new UsageLog({ directory: slotDir, installation: store.position?.installation ?? null, clock, log });

  const transport = new SocketFeedTransport(paths.feedSocket);
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
    identity: { gatewayId, session, region: settings.region, role: settings.role, version },
    transport,
    store,
    snapshots,
    knowledge,
    clock,
    random: Math.random,
    log,
    onSuperseded: () => {
      log.warn({ gatewayId }, 'A newer process has taken this slot; this one ends');
      process.exit(0);
    },
    onForeignInstallation: (error) => stopForeign(error, Number.isFinite(knowledge.ageMs()), log),
    onPosition: ({ installation }) => {
      try {
        usageLog.bindInstallation(installation);
      } catch (error) {
        if (error instanceof ForeignInstallationError) stopForeign(error, false, log);
        throw error;
      }
      adoptOrphans(installation);
    },
    // The control process is next door: a long wait would only keep new keys out after it restarts.
    backOffMaxMs: LOCAL_BACK_OFF_MAX_MS,
  });
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

  let draining = false;
  const fake = createFakeUpstream();
  const network = new UpstreamClient(settings.outbound, clock);
  const relay = createRelay(paths.controlSocket);
  const accessLog = new AccessLog({ json: settings.log.json, write: (text) => process.stdout.write(text) });
  const gateway = createGateway({
    context: {
      knowledge,
      authenticate: createAuthenticate(knowledge, settings.masterKey, clock),
      usage: usageLog,
      upstreamOf: (deployment) => (deployment.provider === FAKE_PROVIDER ? fake : network),
      clock,
      newId: uuidV7Source(clock.nowMs, randomBytes),
      random: Math.random,
      log,
      accessLog: log.isEnabled('info') ? accessLog : NO_ACCESS_LOG,
      metrics: new RequestMetrics(registry),
      flags: settings.flags,
      serverRootPath: settings.serverRootPath,
      isDraining: () => draining,
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
  registerProcessMetrics(registry, slot, knowledge, usageLog, shipper);

  feed.run();
  shipper.run();
  if (store.position !== null) adoptOrphans(store.position.installation);
  await listen(gateway.server, settings);

  return {
    async drain() {
      draining = true;
      leaving.abort();
      const cut = setTimeout(() => gateway.destroy(), Math.max(0, settings.drainTimeoutMs - SHIP_AT_EXIT_MS));
      await gateway.drain();
      clearTimeout(cut);
      relay.close();
      await shipper.drain(SHIP_AT_EXIT_MS);
      feed.stop();
      await usageLog.close();
      await snapshots.close();
      accessLog.flush();
      await network.close();
    },
    reload() {
      try {
        knowledge.configuration = compiled(settings, prices, log);
        log.info({ configFilePath: settings.configFilePath }, 'Configuration reloaded');
      } catch (error) {
        log.error({ error }, 'The configuration file can not be used; the previous configuration stays in force');
      }
    },
    collectMetrics: () => registry.collect(),
  };
}

/** The file of this instance (or its built-in models), compiled; warnings go to the log. */
function compiled(settings: Settings, prices: PriceSource, log: Log): Configuration {
  const { source, warnings } = configSourceFor(settings, process.env);
  for (const secret of secretsOfSource(source)) log.hide(secret);
  const result = compileConfiguration(source, {
    prices,
    envValue: (name) => process.env[name],
    sha256Hex: (text) => createHash('sha256').update(text).digest('hex'),
  });
  for (const warning of [...warnings, ...result.warnings]) log.warn({}, warning);
  return result.configuration;
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
  knowledge: LiveKnowledge,
  usageLog: UsageLog,
  shipper: UsageShipper,
): void {
  const label = String(slot);
  const rev = registry.gauge('claviger_config_rev', 'Configuration revision in force', ['gateway']).labels(label);
  const age = registry
    .gauge('claviger_knowledge_age_seconds', 'Age of the newest confirmation by the database', ['gateway'])
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
    age.set(Math.min(knowledge.ageMs() / 1000, 1e9));
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
