/** Entry of the control process: the composition root of the control plane. */
import { randomBytes } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { createControlPlane } from '../control/control-plane.ts';
import type { ConfigSource } from '../domain/config-source.ts';
import { LITELLM_CONTRACT_VERSION } from '../gateway/versions.ts';
import { createLog } from '../observe/log.ts';
import { configSourceFor } from '../settings/config-source-for.ts';
import { secretsOfSettings, secretsOfSource } from '../settings/secrets.ts';
import { systemClock } from '../util/clock.ts';
import { packageVersion } from '../util/package-version.ts';
import { listenOnSocket } from '../util/unix-socket.ts';
import { CannotRun, type ChildContext, type ChildService, runChild } from './child-life-cycle.ts';
import type { ToSupervisor } from './messages.ts';

/** `ready` waits so long for the database. After that the process is ready without it: it answers 503 and goes on trying. */
const DATABASE_WAIT_MS = 5_000;

async function start({ boot }: ChildContext): Promise<ChildService> {
  const { settings, paths } = boot;
  const log = createLog(settings.log).child({ process: 'control' });
  for (const secret of secretsOfSettings(settings)) log.hide(secret);

  let config = loadConfig();
  let ready = false;
  const plane = createControlPlane({
    settings,
    databaseUrl: boot.databaseUrl,
    config: () => config,
    clock: systemClock,
    randomBytes,
    versions: { claviger: packageVersion(), litellm: LITELLM_CONTRACT_VERSION },
    log,
    onFatal: (error) => {
      // Before `ready` the rejection of `opened` says it.
      if (ready) end({ type: 'fatal', message: error.message, retry: true });
    },
  });

  const management = createServer(getRequestListener(plane.app.fetch as never) as RequestListener);
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

/** Says why, then exits: the supervisor starts another one, which meets the database as it is then. */
function end(message: ToSupervisor): void {
  if (!process.connected) process.exit(1);
  process.send?.(message, () => process.exit(1));
}

runChild(start);
