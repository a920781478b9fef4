import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Configuration } from '../../src/domain/configuration.ts';
import type { KeyDigest } from '../../src/domain/virtual-key.ts';
import { FeedClient, type FeedClientOptions } from '../../src/gateway/live/feed-client.ts';
import { type FeedTransport, SocketFeedTransport } from '../../src/gateway/live/feed-transport.ts';
import { HeldDenials } from '../../src/gateway/live/held-denials.ts';
import { LiveKnowledge } from '../../src/gateway/live/live-knowledge.ts';
import { LocalSnapshots } from '../../src/gateway/live/local-snapshots.ts';
import { MapPrincipalStore } from '../../src/gateway/live/principal-store.ts';
import { systemClock } from '../../src/util/clock.ts';
import { recordingLog } from './principals.ts';

/** The feed half of a gateway process, in the process of the test: real client, store and disk, and a control process that may change. */
export class FeedGateway {
  readonly gatewayId: string;
  readonly session = `session ${performance.now()}`;
  readonly directory: string;
  readonly store = new MapPrincipalStore();
  readonly recorded = recordingLog();
  readonly snapshots: LocalSnapshots;
  readonly denials: HeldDenials;
  readonly client: FeedClient;
  readonly transport: FeedTransport;
  /** Refusals of keys are looked at whenever the position has moved. */
  onMoved: () => void = () => {};
  readonly #ownsDirectory: boolean;

  constructor(options: {
    readonly gatewayId: string;
    /** Of the control process that lives now. */
    readonly socketPath: () => string;
    readonly directory?: string;
    readonly feed?: Partial<FeedClientOptions>;
  }) {
    this.gatewayId = options.gatewayId;
    this.#ownsDirectory = options.directory === undefined;
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), 'feed-gateway-'));
    const { log } = this.recorded;
    this.snapshots = new LocalSnapshots({ directory: this.directory, store: this.store, log });
    this.snapshots.restore(null);
    this.transport = movingTransport(options.socketPath);
    const identity = { gatewayId: options.gatewayId, session: this.session };
    const { store, snapshots, transport } = this;
    this.denials = new HeldDenials({ directory: this.directory, store, identity, transport, log });
    this.client = new FeedClient({
      identity: { ...identity, region: 'eu', role: 'worker', version: '0' },
      transport,
      store,
      snapshots,
      knowledge: new LiveKnowledge(store, {} as Configuration, systemClock),
      clock: systemClock,
      random: () => 0.5,
      log,
      onSuperseded: () => undefined,
      onForeignInstallation: () => undefined,
      onPosition: () => queueMicrotask(() => this.onMoved()),
      denials: this.denials,
      backOffMinMs: 4,
      backOffMaxMs: 20,
      ...options.feed,
    });
    this.client.run();
  }

  refuses(token: string): boolean {
    const entry = this.store.key(token as KeyDigest);
    return entry === undefined || entry.principal.blocked;
  }

  async close(): Promise<void> {
    this.client.stop();
    await this.snapshots.close();
    this.transport.close();
    if (this.#ownsDirectory) rmSync(this.directory, { recursive: true, force: true });
  }
}

function movingTransport(socketPath: () => string): FeedTransport {
  const transports = new Map<string, SocketFeedTransport>();
  const current = (): SocketFeedTransport => {
    const path = socketPath();
    const transport = transports.get(path) ?? new SocketFeedTransport(path);
    transports.set(path, transport);
    return transport;
  };
  return {
    stream: (path, body, handler) => current().stream(path, body, handler),
    post: (path, body, timeoutMs) => current().post(path, body, timeoutMs),
    close: () => {
      for (const transport of transports.values()) transport.close();
    },
  };
}
