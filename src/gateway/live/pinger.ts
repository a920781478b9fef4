import { parsePingReply } from '../../feed/codec.ts';
import { FEED_ECHO_INTERVAL_MS, type GatewayStats, type PingReply, type PingRequest } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import type { FeedTransport } from './feed-transport.ts';
import type { LiveKnowledge } from './live-knowledge.ts';

/** An answer that takes longer is given up, and the next ping sent; what it would have said is old by then. */
export const PING_TIMEOUT_MS = 3_000;
/** Between two pings that have the database asked: the most that somebody with made-up keys can cause. */
export const FRESH_INTERVAL_MIN_MS = 25;
/** Such pings under way at once. With one, who comes behind it would wait for two round trips, and those are 300 ms between continents. */
export const FRESH_IN_FLIGHT_MAX = 3;
/** The end of a process waits this long for its last ping. */
const GOODBYE_TIMEOUT_MS = 500;
/** Intervals differ by this share, so that processes that started together do not stay together. */
const JITTER = 0.1;

export interface PingerOptions {
  readonly transport: Pick<FeedTransport, 'post'>;
  readonly identity: Pick<PingRequest, 'gatewayId' | 'session'>;
  readonly knowledge: LiveKnowledge;
  readonly stats: () => GatewayStats;
  /** Pings are sent while the feed is live. */
  readonly isLive: () => boolean;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly log: Log;
  /** Shortest time between two pings, at most `FEED_ECHO_INTERVAL_MS`. */
  readonly intervalMs?: number;
  /** The control process may ask for fewer pings, down to this. */
  readonly intervalMaxMs?: number;
}

/**
 * Asks the control process again and again how old what it sends is, and dates what is known here by the answers. At most one ping is under
 * way, and a few that have the database asked for somebody who waits.
 */
export class Pinger {
  readonly #options: PingerOptions;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | null = null;
  #freshTimer: NodeJS.Timeout | null = null;
  #pinging = false;
  #asking = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #pingedAtMs = Number.NEGATIVE_INFINITY;
  #nextMs: number;
  #stopped = false;
  #clockOffsetMs: number | null = null;

  constructor(options: PingerOptions) {
    this.#options = options;
    this.#intervalMs = Math.min(FEED_ECHO_INTERVAL_MS, options.intervalMs ?? FEED_ECHO_INTERVAL_MS);
    this.#nextMs = this.#intervalMs;
  }

  /** Estimate of how far the wall clock of this process is ahead of the control plane's; null: not known yet. For people. */
  get clockOffsetMs(): number | null {
    return this.#clockOffsetMs;
  }

  run(): void {
    this.pingNow();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#freshTimer !== null) clearTimeout(this.#freshTimer);
  }

  /** Something came over the feed. When it was not there at the last turn, the next one is now. */
  feedIsAlive(): void {
    if (this.#options.knowledge.nowMs() - this.#pingedAtMs >= this.#nextMs) this.pingNow();
  }

  /** A last ping, which says that this process drains; what is lost with it is only that its end looks like a broken connection. */
  async sayGoodbye(): Promise<void> {
    if (this.#stopped || !this.#options.isLive()) return;
    await Promise.race([this.#ping(false), new Promise((resolve) => setTimeout(resolve, GOODBYE_TIMEOUT_MS))]);
  }

  pingNow(): void {
    this.#schedule();
    const { isLive, knowledge } = this.#options;
    if (this.#pinging || this.#stopped || !isLive()) return;
    this.#pinging = true;
    this.#pingedAtMs = knowledge.nowMs();
    void this.#ping(false).then(() => {
      this.#pinging = false;
    });
  }

  /**
   * Has the database asked for somebody who waits to hear what is newer than `sinceMs`, unless that is under way. Beyond the bounds nothing is asked
   * now; who waits asks again with each answer.
   */
  readonly askNow = (sinceMs: number): void => {
    const isAsked = this.#asking > 0 && this.#askedAtMs >= sinceMs;
    if (isAsked || this.#asking >= FRESH_IN_FLIGHT_MAX || this.#freshTimer !== null || this.#stopped) return;
    const waitMs = this.#askedAtMs + FRESH_INTERVAL_MIN_MS - this.#options.knowledge.nowMs();
    if (waitMs <= 0) {
      this.#ask();
      return;
    }
    this.#freshTimer = setTimeout(() => {
      this.#freshTimer = null;
      this.#ask();
    }, waitMs);
  };

  #ask(): void {
    this.#asking += 1;
    this.#askedAtMs = this.#options.knowledge.nowMs();
    // Its answer is handed on after it counts as over: whoever still waits asks again from there.
    void this.#ping(true);
  }

  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#stopped) return;
    const { random } = this.#options;
    const delayMs = this.#nextMs * (1 + JITTER * (random() - 0.5) * 2);
    this.#timer = setTimeout(() => this.pingNow(), delayMs);
    this.#timer.unref();
  }

  async #ping(fresh: boolean): Promise<void> {
    const { transport, identity, knowledge, stats, wallMs, log } = this.#options;
    const position = knowledge.position;
    let reply: PingReply | null = null;
    let sentAtMs = 0;
    try {
      const report = stats();
      // The last thing before sending: what is proved by the answer counts from here.
      sentAtMs = knowledge.nowMs();
      const wallSentAtMs = wallMs();
      const ping: PingRequest = {
        ...identity,
        sentAtMs,
        epoch: position?.epoch ?? 0,
        rev: position?.rev ?? 0,
        fresh,
        stats: report,
      };
      const answer = await transport.post('/feed/v1/ping', JSON.stringify(ping), PING_TIMEOUT_MS);
      if (answer.status === 200) {
        const parsed = parsePingReply(answer.body);
        if (parsed.sentAtMs === sentAtMs) reply = parsed;
        this.#clockOffsetMs = (wallSentAtMs + wallMs()) / 2 - parsed.serverTimeMs;
      } else {
        log.debug({ status: answer.status, fresh }, 'A ping was refused');
      }
    } catch (error) {
      log.debug({ error, fresh }, 'A ping was not answered');
    }
    if (fresh) this.#asking -= 1;
    if (reply === null) return;
    this.#nextMs = this.#intervalFrom(reply);
    knowledge.answered({ sentAtMs, fresh, reply });
  }

  /** Never shorter than our own, whoever asks for it. */
  #intervalFrom({ intervalMs }: PingReply): number {
    const longestMs = this.#options.intervalMaxMs ?? this.#intervalMs;
    return Math.max(this.#intervalMs, Math.min(intervalMs ?? 0, longestMs));
  }
}
