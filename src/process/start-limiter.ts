import { join } from 'node:path';
import { InstancePeers } from '../gateway/limits/instance/instance-peers.ts';
import { PeerSockets } from '../gateway/limits/instance/peer-sockets.ts';
import { Limiter } from '../gateway/limits/limiter.ts';
import { MeterBook } from '../gateway/limits/meter-book.ts';
import { OwnedMeters } from '../gateway/limits/owned-meters.ts';
import { RateLimits } from '../gateway/limits/rate-limits.ts';
import { RegionTokens } from '../gateway/limits/region/region-tokens.ts';
import type { Log } from '../observe/log.ts';
import type { MetricRegistry } from '../observe/metrics.ts';
import type { Settings } from '../settings/settings.ts';
import type { Clock } from '../util/clock.ts';
import { connectToRedis } from './redis-connection.ts';

export interface LimiterService {
  readonly limiter: Limiter;
  /** Resolves when it knows what the other gateway processes have counted, and whether Redis is there; both are bounded. */
  start(): Promise<void>;
  /** Hands over what this process has counted. After the last call. */
  stop(): Promise<void>;
}

interface LimiterSettings extends Pick<Settings, 'numWorkers' | 'rateLimitWindowSeconds' | 'redis' | 'region'> {
  readonly slot: number;
  readonly socketDir: string;
  readonly instanceId: string;
  readonly session: string;
}

const REPLICATE_MS = 100;
const TICK_MS = 250;

/** Rate limits of this gateway process: alone, together with those of its instance, and together with those of its region. */
export function createLimiterService(
  settings: LimiterSettings,
  { clock, log, registry }: { readonly clock: Clock; readonly log: Log; readonly registry: MetricRegistry },
): LimiterService {
  const { instanceId, numWorkers, rateLimitWindowSeconds: windowSeconds, redis, region, session, slot } = settings;
  // The high-resolution clock is the machine's, so all processes of it count in the same seconds.
  const offsetMs = Number(process.hrtime.bigint()) / 1e6 - clock.monotonicMs();
  const monotonicMs = (): number => clock.monotonicMs() + offsetMs;
  const setTimer = (callback: () => void, delayMs: number): (() => void) => {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  };
  const book = new MeterBook(windowSeconds);
  const peers =
    numWorkers === 1
      ? null
      : new InstancePeers({
          slot,
          book,
          owned: new OwnedMeters(book, monotonicMs),
          monotonicMs,
          onOwnersChanged: () => rateLimits.lendersChanged(true),
        });
  const sockets = peers === null ? null : new PeerSockets({ directory: join(settings.socketDir), slot, peers, log });
  const connection = redis === null ? null : connectToRedis(redis, log);
  const tokens =
    connection === null
      ? null
      : new RegionTokens({
          run: connection.run,
          region,
          instanceId,
          processId: `${instanceId}/${slot}/${session}`,
          windowSeconds,
          monotonicMs,
          setTimer,
          liveInstances: () => 1,
          onTrustChanged: () => rateLimits.lendersChanged(false),
          log,
        });
  const rateLimits: RateLimits = new RateLimits({
    book,
    monotonicMs,
    instance: peers,
    region: tokens,
    regions: () => 1,
    setTimer,
  });
  const limiter = new Limiter({ rateLimits, book, clock, registry, region: tokens });
  const timers: NodeJS.Timeout[] = [];
  return {
    limiter,
    async start() {
      await Promise.all([sockets?.start(), tokens?.start()]);
      timers.push(setInterval(() => rateLimits.tick(), TICK_MS).unref());
      if (peers !== null) timers.push(setInterval(() => peers.replicate(), REPLICATE_MS).unref());
    },
    async stop() {
      for (const timer of timers) clearInterval(timer);
      rateLimits.tick();
      await Promise.all([sockets?.close(), tokens?.stop()]);
      connection?.close();
    },
  };
}
