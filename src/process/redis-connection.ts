import { createHash } from 'node:crypto';
import { createClient } from '@redis/client';
import { REGION_SCRIPTS, type RegionScript } from '../gateway/limits/region/region-scripts.ts';
import type { RunScript } from '../gateway/limits/region/region-tokens.ts';
import type { Log } from '../observe/log.ts';
import type { RedisSettings } from '../settings/settings.ts';

/** Commands without an answer; more fail at once. */
const COMMANDS_OPEN_MAX = 10_000;
const CONNECT_MS = 2_000;
const RECONNECT_MAX_MS = 1_000;
/** A server that is frozen keeps its connections: without an answer in this time it is dialled anew. */
const SILENT_MS = 5_000;

export interface RedisConnection {
  readonly run: RunScript;
  close(): void;
}

/** A connection that is kept up in the background; without one commands fail at once. */
export function connectToRedis(settings: RedisSettings, log: Log): RedisConnection {
  const { url, host, port, username, password, database, tls } = settings;
  const client = createClient({
    ...(url === null ? {} : { url }),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(database === null ? {} : { database }),
    socket: {
      ...(url === null ? { host, port, ...(tls ? { tls: true as const } : {}) } : {}),
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENT_MS,
      reconnectStrategy: (retries: number) => Math.min(RECONNECT_MAX_MS, 50 * (retries + 1)),
    },
    name: 'claviger',
    disableOfflineQueue: true,
    commandsQueueMaxLength: COMMANDS_OPEN_MAX,
  });
  let lastMessage = '';
  client.on('error', (error: Error) => {
    // Once per kind: it tries again every second.
    if (error.message !== lastMessage) log.warn({ reason: error.message }, 'No connection to Redis');
    lastMessage = error.message;
  });
  client.on('ready', () => {
    lastMessage = '';
    log.info({}, 'Connected to Redis');
  });
  const connected = client.connect().catch(() => {});
  const hashes = new Map<RegionScript, string>();
  for (const [name, text] of Object.entries(REGION_SCRIPTS))
    hashes.set(name as RegionScript, createHash('sha1').update(text).digest('hex'));
  let closed = false;

  return {
    async run(script, keys, values) {
      if (!client.isReady) {
        // The first connection may be a moment away.
        await connected;
        if (!client.isReady) throw new Error('there is no connection to Redis');
      }
      const options = { keys: [...keys], arguments: values.map(String) };
      try {
        return await client.evalSha(hashes.get(script)!, options);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return await client.eval(REGION_SCRIPTS[script], options);
      }
    },
    close() {
      if (closed) return;
      closed = true;
      client.destroy();
    },
  };
}
