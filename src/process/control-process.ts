/** Entry of the control process: the composition root of the control plane. */
import { randomBytes } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { createControlPlane } from '../control/control-plane.ts';
import type { ConfigSource } from '../domain/config-source.ts';
import { LITELLM_CONTRACT_VERSION } from '../gateway/versions.ts';
import { createLog } from '../observe/log.ts';
import { instancePrices } from '../prices/instance-prices.ts';
import { configSourceFor } from '../settings/config-source-for.ts';
import { secretsOfSettings, secretsOfSource } from '../settings/secrets.ts';
import type { Settings } from '../settings/settings.ts';
import { databaseAddress } from '../storage/connection.ts';
import { systemClock } from '../util/clock.ts';
import { ElapsedClock } from '../util/elapsed-clock.ts';
import { packageVersion } from '../util/package-version.ts';
import { listenOnSocket } from '../util/unix-socket.ts';
import { CannotRun, type ChildContext, type ChildService, runChild } from './child-life-cycle.ts';
import { hasSnapshots } from './has-snapshots.ts';
import type { ToSupervisor } from './messages.ts';

/** `ready` waits so long for the database. After that the process is ready without it: it answers 503 and goes on trying. */
const DATABASE_WAIT_MS = 5_000;

async function start({ boot }: ChildContext): Promise<ChildService> {
  const { settings, paths } = boot;
  const log = createLog(settings.log).child({ process: 'control' });
  for (const secret of secretsOfSettings(settings)) log.hide(secret);

  const prices = instancePrices(settings, log);
  prices.copy.run();
  checkDatabaseUrls(boot.databaseUrl, settings);
  let config = loadConfig();
  let ready = false;
  const plane = createControlPlane({
    settings,
    databaseUrl: boot.databaseUrl,
    embeddedDatabase: boot.embeddedDatabase,
    instanceId: boot.instanceId,
    config: () => config,
    envValue: (name) => process.env[name],
    prices: prices.source,
    costMap: prices.all,
    clock: new ElapsedClock(systemClock),
    randomBytes,
    versions: { claviger: packageVersion(), litellm: LITELLM_CONTRACT_VERSION },
    log,
    canServeWithout: () => hasSnapshots(settings.dataDir),
    onFatal: (error) => {
      // Before `ready` the rejection of `opened` says it.
      if (ready) end({ type: 'fatal', message: error.message, retry: true });
    },
  });

  const answerManagement = getRequestListener(plane.app.fetch as never) as RequestListener;
  const management = createServer((request, response) => {
    if (settings.flags.disableAdminEndpoints || !plane.signedFeed.serve(request, response))
      answerManagement(request, response);
  });
  await listenOnSocket(management, paths.controlSocket);
  await listenOnSocket(plane.feedServer, paths.feedSocket);
  await Promise.race([plane.opened, delay(DATABASE_WAIT_MS)]).catch((error: Error) => {
    throw new CannotRun(error.message, { cause: error });
  });
  ready = true;

  function loadConfig(): ConfigSource {
    const { source, warnings } = configSourceFor(settings, process.env);
    for (const secret of secretsOfSource(source)) log.hide(secret);
    for (const warning of warnings) log.debug({}, warning);
    return source;
  }

  return {
    async drain() {
      prices.copy.stop();
      const closed = new Promise<void>((resolve) => management.close(() => resolve()));
      management.closeIdleConnections();
      await Promise.race([
        Promise.all([closed, plane.close()]),
        delay(settings.drainTimeoutMs, undefined, { ref: false }),
      ]);
    },
    reload() {
      try {
        config = loadConfig();
      } catch (error) {
        log.error({ err: error }, 'the configuration file can not be used; the old one stays in force');
      }
    },
    collectMetrics: () => plane.collectMetrics(),
  };
}

/** A URL that can not be read, or names a file that can not, will be no better at the next attempt. */
function checkDatabaseUrls(databaseUrl: string, { directUrl, readReplicaUrl }: Settings): void {
  for (const [name, url] of [
    ['DATABASE_URL', databaseUrl],
    ['DIRECT_URL', directUrl],
    ['DATABASE_URL_READ_REPLICA', readReplicaUrl],
  ] as const) {
    try {
      if (url !== null) databaseAddress(url, name);
    } catch (error) {
      throw new CannotRun((error as Error).message, { cause: error });
    }
  }
}

/** Says why, then exits: the supervisor starts another one, which meets the database as it is then. */
function end(message: ToSupervisor): void {
  if (!process.connected) process.exit(1);
  process.send?.(message, () => process.exit(1));
}

runChild(start);
