import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ControlPlane, type ControlPlaneOptions, createControlPlane } from '../../src/control/control-plane.ts';
import { type ConfigSource, EMPTY_CONFIG_SOURCE } from '../../src/domain/config-source.ts';
import type { Database } from '../../src/storage/db.ts';
import { createDatabase } from '../../src/storage/pool.ts';
import { systemClock } from '../../src/util/clock.ts';
import { listenOnSocket } from '../../src/util/unix-socket.ts';
import { silentLog } from './silent-log.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

export const TEST_MASTER_KEY = 'sk-master-of-the-tests';
export const TEST_SEALING_KEY = 'salt of the tests';

export interface TestControlPlane {
  readonly plane: ControlPlane;
  readonly database: TestDatabase;
  /** A second way into the database, to look at what was stored. */
  readonly db: Database;
  readonly feedSocket: string;
  /** Calls the management API, as the master key unless told otherwise. `json` is the parsed answer. */
  call(method: string, path: string, options?: CallOptions): Promise<CallResult>;
  stop(): Promise<void>;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly key?: string | null;
  readonly headers?: Record<string, string>;
}

export interface CallResult {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
  readonly json: any;
}

export interface TestControlPlaneOptions {
  readonly database?: TestDatabase;
  /** Two control planes of one database are two instances, where it matters. */
  readonly instanceId?: string;
  readonly config?: Partial<ConfigSource>;
  readonly settings?: Partial<ControlPlaneOptions['settings']>;
  readonly clock?: ControlPlaneOptions['clock'];
  readonly prices?: ControlPlaneOptions['prices'];
  readonly costMap?: ControlPlaneOptions['costMap'];
  readonly databaseUrl?: string;
  readonly waitUntilOpened?: boolean;
  readonly onFatal?: (error: Error) => void;
}

/** A whole control plane on a database of its own (or the given one), with its feed on a unix socket. */
export async function startControlPlane(options: TestControlPlaneOptions = {}): Promise<TestControlPlane> {
  const database = options.database ?? (await createTestDatabase());
  const dir = mkdtempSync(join(tmpdir(), 'claviger-control-'));
  const feedSocket = join(dir, 'feed.sock');
  const plane = createControlPlane({
    settings: {
      // Tests of the feed say how many subscribers a write waits for; the others have none.
      numWorkers: 0,
      region: 'test',
      masterKey: TEST_MASTER_KEY,
      sealingKey: TEST_SEALING_KEY,
      serverRootPath: '',
      flags: { disableLlmApiEndpoints: false, disableAdminEndpoints: false, disableAdminUi: false },
      bodyBytesMax: 32 * 1024 * 1024,
      databaseConnectionPoolLimit: 10,
      directUrl: null,
      readReplicaUrl: null,
      fenceMs: null,
      storeModelInDb: true,
      role: 'standalone',
      disableSchemaUpdate: false,
      ...options.settings,
    },
    databaseUrl: options.databaseUrl ?? database.url,
    embeddedDatabase: false,
    instanceId: options.instanceId ?? 'test-instance',
    config: () => ({ ...EMPTY_CONFIG_SOURCE, ...options.config }),
    envValue: () => undefined,
    prices: options.prices ?? { find: () => null },
    costMap: options.costMap ?? (() => new Map()),
    clock: options.clock ?? systemClock,
    randomBytes,
    versions: { claviger: '0.0.0-test', litellm: '1.2.3' },
    log: silentLog,
    onFatal:
      options.onFatal ??
      ((error) => {
        throw error;
      }),
  });
  await listenOnSocket(plane.feedServer, feedSocket);
  if (options.waitUntilOpened !== false) await plane.opened;
  const db = createDatabase({ url: database.url, connectionsMax: 2, log: silentLog });

  return {
    plane,
    database,
    db,
    feedSocket,
    async call(method, path, { body, key = TEST_MASTER_KEY, headers = {} } = {}) {
      const response = await plane.app.request(path, {
        method,
        headers: {
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, json: text === '' ? null : JSON.parse(text) };
    },
    async stop() {
      await plane.close();
      await db.close();
      if (options.database === undefined) await database.drop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
