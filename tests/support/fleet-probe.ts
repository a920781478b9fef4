import type { GatewayStats, PingRequest } from '../../src/feed/protocol.ts';
import { FeedProbe, type FeedProbeOptions, postToFeed } from './feed-probe.ts';

/** What a gateway process says of itself when nothing is remarkable. */
export function statsOf(changes: Partial<GatewayStats> = {}): GatewayStats {
  return {
    stalenessMs: 100,
    clockOffsetMs: 0,
    setHash: 'same',
    keyCount: 1,
    config: { rev: 0, rejected: null, hash: '' },
    usageLog: {
      lastSeq: 0,
      acknowledgedSeq: 0,
      backlogRecords: 0,
      oldestUnshippedMs: 0,
      bytes: 0,
      diskFreeBytes: null,
    },
    openRequests: 0,
    eventLoopP99Ms: 1,
    rssBytes: 1,
    requestsPerMinute: 0,
    errorsPerMinute: 0,
    tooManyPerMinute: 0,
    draining: false,
    ...changes,
  };
}

/** A gateway process that is connected to the feed, acknowledges what it gets (unless told otherwise) and says how it is when asked to. */
export class FleetProbe extends FeedProbe {
  readonly #identity: { readonly gatewayId: string; readonly session: string };
  readonly #socketPath: string;

  constructor(options: FeedProbeOptions & { readonly gatewayId: string }) {
    super(options);
    this.#socketPath = options.socketPath;
    this.#identity = { gatewayId: options.gatewayId, session: options.session ?? 'session-1' };
  }

  /** Resolves when it has what there is. */
  async arrive(): Promise<this> {
    await this.until(() => this.position !== null);
    return this;
  }

  /** A ping with these figures. */
  async say(stats: Partial<GatewayStats> = {}): Promise<void> {
    const ping: PingRequest = {
      ...this.#identity,
      sentAtMs: 1,
      epoch: this.position?.epoch ?? 0,
      rev: this.position?.rev ?? 0,
      fresh: false,
      stats: statsOf(stats),
    };
    const { status, text } = await postToFeed(this.#socketPath, '/feed/v1/ping', ping);
    if (status !== 200) throw new Error(`a ping was answered ${status}: ${text}`);
  }
}
