import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type Agent, type IncomingHttpHeaders, request as requestHttp } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Account, AccountKind } from '../../src/domain/account.ts';
import { SETTING_FLEET_KEY } from '../../src/domain/change.ts';
import { compileConfiguration } from '../../src/domain/compile-configuration.ts';
import { type ConfigSource, EMPTY_CONFIG_SOURCE, type ModelEntry } from '../../src/domain/config-source.ts';
import type { Deployment } from '../../src/domain/deployment.ts';
import type { UsageIntent, UsageRecord } from '../../src/domain/usage.ts';
import type { JsonObject, KeyDigest, Principal } from '../../src/domain/virtual-key.ts';
import { AccessLog, type AccessRecord } from '../../src/gateway/access-log.ts';
import { createAuthenticate } from '../../src/gateway/auth/authenticate.ts';
import { keyDigest } from '../../src/gateway/auth/key-digest.ts';
import { UnknownKeyWaits } from '../../src/gateway/auth/unknown-key-waits.ts';
import type { Relay } from '../../src/gateway/endpoints/relay-to-control.ts';
import { createGateway } from '../../src/gateway/gateway.ts';
import { Limiter } from '../../src/gateway/limits/limiter.ts';
import { MeterBook } from '../../src/gateway/limits/meter-book.ts';
import { RateLimits } from '../../src/gateway/limits/rate-limits.ts';
import { scanFrames } from '../../src/gateway/live/checked-frames.ts';
import { LiveKnowledge } from '../../src/gateway/live/live-knowledge.ts';
import { MapPrincipalStore } from '../../src/gateway/live/principal-store.ts';
import { segmentFiles } from '../../src/gateway/metering/recover-usage-log.ts';
import { UsageLog } from '../../src/gateway/metering/usage-log.ts';
import type { UsageLogFs } from '../../src/gateway/metering/usage-log-fs.ts';
import { SegmentDecoder } from '../../src/gateway/metering/usage-segment.ts';
import { createFakeUpstream } from '../../src/gateway/providers/fake/fake-upstream.ts';
import type { Upstream } from '../../src/gateway/providers/upstream.ts';
import { UpstreamClient } from '../../src/gateway/providers/upstream-client.ts';
import { RequestMetrics } from '../../src/gateway/request-metrics.ts';
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from '../../src/gateway/server.ts';
import { expositionText, MetricRegistry } from '../../src/observe/metrics.ts';
import { type BudgetService, createBudgetService } from '../../src/process/start-budgets.ts';
import { systemClock } from '../../src/util/clock.ts';
import { uuidV7Source } from '../../src/util/uuid-v7.ts';
import { GrantingTransport } from './granting-transport.ts';
import { at, FLEET_KEY, INSTALLATION, principalOf, recordingLog } from './principals.ts';
import { until } from './until.ts';
import { recordIn } from './usage.ts';

/** A key without limits that every harness knows. */
export const KEY = 'sk-harness-key-0123456789';
export const MASTER_KEY = 'sk-harness-master-0123456789';

export interface HarnessOptions {
  readonly models?: readonly ModelEntry[];
  readonly generalSettings?: JsonObject;
  readonly routerSettings?: JsonObject;
  readonly litellmSettings?: JsonObject;
  /** Further keys, with what is special about each. */
  readonly keys?: Readonly<Record<string, Partial<Principal>>>;
  readonly deletedKeys?: readonly string[];
  readonly accounts?: readonly Account[];
  /** False: the gateway has received nothing yet. */
  readonly snapshot?: boolean;
  readonly limits?: Partial<ServerLimits>;
  readonly bodyBytesMax?: number;
  readonly responseHeldBytesMax?: number;
  readonly usageLogFs?: UsageLogFs;
  readonly usageLogRetryMs?: number;
  readonly upstreamOf?: (deployment: Deployment) => Upstream;
  /** Who is asked for budgets; absent: somebody who gives whatever is asked for. */
  readonly leases?: GrantingTransport;
  /** The way to a control process; none when absent. */
  readonly relay?: Relay;
}

/** An answer that was read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; throws when it is none. */
  json(): JsonObject;
}

export interface CallOptions {
  readonly path?: string;
  readonly method?: string;
  /** Null: no credential at all. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Keeps connections between calls; else each has its own. */
  readonly agent?: Agent;
}

/** What the usage log has on disk. */
export interface UsageOnDisk {
  readonly settled: readonly UsageRecord[];
  /** Intents without a settlement. */
  readonly open: readonly UsageIntent[];
}

/**
 * The data plane in this process: pipeline, server, usage log on a real disk, network client. What a composition root
 * takes from settings and feed is given by the test.
 */
export class GatewayHarness {
  readonly url: string;
  readonly port: number;
  /** How old the gateway believes its knowledge to be. */
  knowledgeAgeMs = 0;
  draining = false;
  readonly usageLog: UsageLog;
  readonly #usageDirectory: string;
  readonly #parts: Parts;

  constructor(parts: Parts, port: number) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.usageLog = parts.usageLog;
    this.#usageDirectory = parts.usageDirectory;
    this.#parts = parts;
  }

  /** One request on a connection of its own. A body that is no string or buffer is sent as JSON. */
  call(body: unknown, options: CallOptions = {}): Promise<Answer> {
    return callGateway(this.url, body, options);
  }

  /** As the feed would bring it. */
  changeKey(key: string, fields: Partial<Principal>): void {
    const { store } = this.#parts;
    const rev = store.position!.rev + 1;
    const token = keyDigest(key);
    store.applyDelta(at(rev), [{ rev, kind: 'key', id: token, value: principalOf('', { ...fields, token }) }]);
  }

  /** As the feed would bring it; null: there is none any more. */
  changeAccount(kind: AccountKind, id: string, value: Account | null): void {
    const { store } = this.#parts;
    const rev = store.position!.rev + 1;
    store.applyDelta(at(rev), [{ rev, kind, id, value }]);
  }

  /** Lines of the program's log as JSON texts. */
  logText(): string {
    return this.#parts.logText();
  }

  /** Access log so far, one record per finished LLM request. */
  access(): readonly AccessRecord[] {
    this.#parts.accessLog.flush();
    return this.#parts.accessText().map((line) => JSON.parse(line) as AccessRecord);
  }

  metricsText(): string {
    return expositionText(this.#parts.registry.collect());
  }

  usage(): UsageOnDisk {
    return readUsage(this.#usageDirectory);
  }

  /** The settlements on disk, once there are that many and no call is open. */
  settled(count: number): Promise<readonly UsageRecord[]> {
    let last = '';
    return until(`${count} settlements; ${last}`, () => {
      const { settled, open } = this.usage();
      last = `${settled.length} settled, ${open.length} open`;
      return settled.length >= count && open.length === 0 ? settled : null;
    });
  }

  /** The only settlement since `before`. */
  async settledSince(before: number, count = 1): Promise<readonly UsageRecord[]> {
    const all = await this.settled(before + count);
    if (all.length !== before + count) throw new Error(`${all.length - before} settlements instead of ${count}`);
    return all.slice(before);
  }

  /** Connections that clients have open. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#parts.gateway.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
    });
  }

  /** Nothing is under way: no request, no connection, no call without a settlement. Fails when that does not come about. */
  async quiet(): Promise<void> {
    let found = '';
    const calm = async (): Promise<true | null> => {
      const { open } = this.usage();
      const connections = await this.connections();
      const { value: inFlight } = this.#parts.metrics.inFlight;
      found = `${inFlight} in flight, ${connections} connections, ${open.length} open calls, ${this.usageLog.openCount} in memory`;
      return inFlight === 0 && connections === 0 && open.length === 0 && this.usageLog.openCount === 0 ? true : null;
    };
    await until('the gateway is quiet', calm, 5_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${found}`);
    });
  }

  /** Waits until nothing is under way, then takes everything down. */
  async stop(): Promise<void> {
    try {
      await this.quiet();
    } finally {
      const { gateway, upstreams, accessLog, directory, money, usageLog } = this.#parts;
      const drained = gateway.drain({
        noticeMs: 0,
        openCalls: () => 0,
        onNoticeOver: () => {},
        signal: new AbortController().signal,
      });
      gateway.destroy();
      await drained;
      await Promise.all(upstreams.map((upstream) => upstream.close()));
      await money.stop();
      await usageLog.close();
      accessLog.flush();
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

/** Rate limits as in the only gateway process of an instance without Redis. */
function limiterAlone(registry: MetricRegistry): Limiter {
  const book = new MeterBook(60);
  const rateLimits = new RateLimits({
    book,
    monotonicMs: systemClock.monotonicMs,
    instance: null,
    region: null,
    regions: () => 1,
    setTimer: () => () => {},
  });
  return new Limiter({ rateLimits, book, clock: systemClock, registry, region: null });
}

export async function startGateway(options: HarnessOptions = {}): Promise<GatewayHarness> {
  const directory = mkdtempSync(join(tmpdir(), 'claviger-gateway-'));
  const usageDirectory = join(directory, 'usage');
  const { log, text } = recordingLog();
  const registry = new MetricRegistry();
  const metrics = new RequestMetrics(registry);
  const accessLines: string[] = [];
  const accessLog = new AccessLog({
    json: true,
    write: (lines) => accessLines.push(...lines.split('\n').filter((line) => line !== '')),
  });
  const usageLog = new UsageLog({
    directory: usageDirectory,
    installation: INSTALLATION,
    clock: systemClock,
    log,
    ...(options.usageLogFs === undefined ? {} : { fs: options.usageLogFs }),
    ...(options.usageLogRetryMs === undefined ? {} : { writeRetryMs: options.usageLogRetryMs }),
  });
  let harness: GatewayHarness | null = null;
  // Knowledge was confirmed at time 0 of this clock, so its reading is the age.
  const knowledgeClock = { nowMs: Date.now, monotonicMs: () => harness?.knowledgeAgeMs ?? 0 };
  const store = storeOf(options);
  const knowledge = new LiveKnowledge(store, configurationOf(options), knowledgeClock);
  const confirmNow = (): void => {
    const { epoch, rev } = at(7);
    const reply = { epoch, rev, dbAgeMs: 0, witnessRev: rev, witnessAgeMs: 0 };
    knowledge.answered({ sentAtMs: knowledge.nowMs(), fresh: true, reply });
  };
  confirmNow();
  // The database answers at once that there is nothing new.
  const waits = new UnknownKeyWaits({ nowMs: () => knowledge.nowMs(), askNow: confirmNow });
  knowledge.onDated = (readAtMs) => waits.dated(readAtMs);
  const fake = createFakeUpstream();
  const client = new UpstreamClient(
    { httpProxy: null, httpsProxy: null, noProxy: [], caFile: null, sslVerify: true },
    systemClock,
  );
  const money = createBudgetService({
    directory: usageDirectory,
    usageLog,
    transport: options.leases ?? new GrantingTransport(),
    identity: { gatewayId: 'test/0', session: 's' },
    bootId: 'boot',
    clock: systemClock,
    random: Math.random,
    registry,
    log,
  });
  money.run();
  const gateway = createGateway({
    context: {
      knowledge,
      authenticate: createAuthenticate({ knowledge, masterKey: MASTER_KEY, clock: systemClock, waits }),
      usage: usageLog,
      purse: money.purse,
      upstreamOf: options.upstreamOf ?? ((deployment) => (deployment.provider === 'fake' ? fake : client)),
      clock: systemClock,
      newId: uuidV7Source(Date.now, randomBytes),
      random: Math.random,
      log,
      accessLog,
      metrics,
      limiter: limiterAlone(registry),
      flags: { disableLlmApiEndpoints: false, disableAdminEndpoints: false, disableAdminUi: false },
      region: 'test',
      serverRootPath: '',
      isDraining: () => harness?.draining ?? false,
      takesCalls: () => true,
      trustsProxy: () => false,
      bodyBytesMax: options.bodyBytesMax ?? 32 * 1024 * 1024,
      responseHeldBytesMax: options.responseHeldBytesMax ?? 8 * 1024 * 1024,
      staticHeaders: ['x-litellm-version', '0.0.0', 'x-claviger-version', '0.0.0', 'x-claviger-region', 'test'],
    },
    relay: options.relay ?? null,
    cors: { origins: ['*'], allowCredentials: false },
    metricsText: async () => expositionText(registry.collect()),
    limits: { ...DEFAULT_SERVER_LIMITS, ...options.limits },
    tls: null,
    log,
  });
  await new Promise<void>((resolve, reject) => {
    gateway.server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = gateway.server.address() as AddressInfo;
  const parts: Parts = {
    directory,
    usageDirectory,
    store,
    gateway,
    usageLog,
    money,
    upstreams: [fake, client],
    accessLog,
    accessText: () => accessLines,
    logText: text,
    registry,
    metrics,
  };
  harness = new GatewayHarness(parts, port);
  return harness;
}

/** One request, read to the end of its answer. */
export function callGateway(url: string, body: unknown, options: CallOptions = {}): Promise<Answer> {
  const { path = '/v1/chat/completions', method = 'POST', key = KEY, headers = {}, agent = false } = options;
  const bytes =
    typeof body === 'string' || Buffer.isBuffer(body) ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = requestHttp(new URL(path, url), {
      method,
      agent,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        'content-type': 'application/json',
        'content-length': String(bytes.length),
        ...headers,
      },
    });
    request.once('error', reject);
    request.once('response', (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.once('error', reject);
      answer.once('end', () => {
        const text = Buffer.concat(pieces).toString('utf8');
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text,
          json: () => JSON.parse(text) as JsonObject,
        });
      });
    });
    request.end(bytes);
  });
}

/** A `model_list` entry with prices of one and two micro-dollars per token. */
export function modelEntry(modelName: string, params: JsonObject, modelInfo: JsonObject = {}): ModelEntry {
  return {
    modelName,
    litellmParams: { input_cost_per_token: 1e-6, output_cost_per_token: 2e-6, ...params },
    modelInfo,
  };
}

interface Parts {
  readonly store: MapPrincipalStore;
  readonly directory: string;
  readonly usageDirectory: string;
  readonly gateway: ReturnType<typeof createGateway>;
  readonly money: BudgetService;
  readonly usageLog: UsageLog;
  readonly upstreams: readonly Upstream[];
  readonly accessLog: AccessLog;
  readonly accessText: () => readonly string[];
  readonly logText: () => string;
  readonly registry: MetricRegistry;
  readonly metrics: RequestMetrics;
}

function storeOf({ snapshot = true, keys = {}, deletedKeys = [], accounts = [] }: HarnessOptions): MapPrincipalStore {
  const store = new MapPrincipalStore();
  if (!snapshot) return store;
  const collector = store.beginSnapshot();
  const all = Object.entries({ [KEY]: {}, ...keys });
  collector.addKeys(
    all.map(([key, fields]) => ({
      principal: principalOf('', { keyAlias: 'harness', ...fields, token: keyDigest(key) }),
      spendNano: '0',
    })),
  );
  collector.addDeletedKeys(deletedKeys.map((key): KeyDigest => keyDigest(key)));
  collector.addAccounts(accounts);
  collector.addSettings({ [SETTING_FLEET_KEY]: FLEET_KEY });
  collector.commit(at(7));
  return store;
}

function configurationOf(options: HarnessOptions) {
  const source: ConfigSource = {
    ...EMPTY_CONFIG_SOURCE,
    models: options.models ?? [modelEntry('fake-gpt', { model: 'fake/gpt' })],
    generalSettings: options.generalSettings ?? {},
    routerSettings: options.routerSettings ?? {},
    litellmSettings: options.litellmSettings ?? {},
  };
  const { configuration, warnings } = compileConfiguration(source, {
    prices: { find: () => null },
    envValue: () => undefined,
    sha256Hex: (text) => createHash('sha256').update(text).digest('hex'),
  });
  if (warnings.length > 0) throw new Error(`the configuration of this test is not clean: ${warnings.join(' ')}`);
  return configuration;
}

function readUsage(directory: string): UsageOnDisk {
  const settled: UsageRecord[] = [];
  let open: readonly UsageIntent[] = [];
  const segments = segmentFiles(directory);
  for (const [index, { path, firstSeq }] of segments.entries()) {
    // After a failed sync a segment is written again from the last frame that is on disk for certain; the later one counts.
    const endSeq = segments[index + 1]?.firstSeq ?? Number.POSITIVE_INFINITY;
    const decoder = new SegmentDecoder(firstSeq, true);
    const bytes = readFileSync(path);
    const good = scanFrames(bytes, (payload) =>
      decoder.accept(payload, {
        onSettled: (seq, _begin, bytes) => {
          if (seq < endSeq) settled.push(recordIn(seq, bytes));
        },
      }),
    );
    if (good !== bytes.length) throw new Error(`the usage log is damaged after byte ${good} of ${bytes.length}`);
    open = [...decoder.open.values()].map(({ intent }) => intent);
  }
  return { settled, open };
}
