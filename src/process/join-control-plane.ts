import type { Log } from '../observe/log.ts';
import type { Settings } from '../settings/settings.ts';
import type { Clock } from '../util/clock.ts';
import { packageVersion } from '../util/package-version.ts';
import { enrol } from './enrolment.ts';
import { keepRenewing } from './enrolment-renewal.ts';
import { joinedConnection } from './feed-connection.ts';

export interface JoinOptions {
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly instanceId: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface Joined {
  /** With what the identity says: region and sealing key. */
  readonly settings: Settings;
  /** Renews the credential no more. */
  end(): void;
}

/** What happens once per instance before its processes start: a worker with `CONTROL_PLANE_URL` becomes who it is. Others are that already. */
export async function joinControlPlane({
  clock,
  env,
  instanceId,
  log,
  random,
  settings,
}: JoinOptions): Promise<Joined> {
  if (settings.controlPlaneUrls.length === 0) return { settings, end: () => {} };
  const region = (env.CLAVIGER_REGION ?? '').trim() === '' ? null : settings.region;
  const identity = await enrol({ settings, instanceId, region, version: packageVersion(), clock, random, log });
  for (const secret of [identity.privateKey, identity.sealingKey]) log.hide(secret);
  const leaving = new AbortController();
  const { transport } = joinedConnection(settings, identity, { clock, log });
  void keepRenewing({ dataDir: settings.dataDir, identity, transport, clock, log, signal: leaving.signal });
  return {
    settings: { ...settings, region: identity.region, sealingKey: identity.sealingKey },
    end() {
      leaving.abort();
      transport.close();
    },
  };
}
