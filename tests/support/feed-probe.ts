import { type IncomingMessage, request } from 'node:http';
import { type Account, accountKey, isAccountKind } from '../../src/domain/account.ts';
import type { Position } from '../../src/domain/change.ts';
import type { StoredModel } from '../../src/domain/stored-model.ts';
import type { Principal } from '../../src/domain/virtual-key.ts';
import { DownFrameDecoder, parsePingReply } from '../../src/feed/codec.ts';
import { type DownFrame, FEED_PROTOCOL, type Hello, type PingReply } from '../../src/feed/protocol.ts';

export interface FeedProbeOptions extends Partial<Omit<Hello, 'protocol'>> {
  readonly socketPath: string;
  readonly protocol?: number;
  /** Confirm each snapshot and delta at once; default true. */
  readonly acknowledge?: boolean;
  /** What an earlier probe knew. */
  readonly from?: FeedProbe;
}

/** A subscriber of the feed that follows the protocol to the letter and throws where a frame does not. */
export class FeedProbe {
  readonly frames: DownFrame[] = [];
  readonly keys = new Map<string, Principal>();
  readonly spend = new Map<string, string>();
  readonly deleted = new Set<string>();
  readonly models = new Map<string, StoredModel>();
  /** By `accountKey`. */
  readonly accounts = new Map<string, Account>();
  /** Refused ahead of the delta that says so. */
  readonly denied = new Set<string>();
  /** All that came, signs of life included. */
  bytes = 0;
  /** Deltas received and not confirmed yet. */
  unconfirmed = 0;
  head: string | null = null;
  settings: Readonly<Record<string, unknown>> = {};
  position: Position | null = null;
  status: number | null = null;
  ended = false;
  failure: Error | null = null;
  readonly #options: FeedProbeOptions;
  readonly #watchers = new Set<() => void>();
  readonly #close: () => void;
  #response: IncomingMessage | null = null;

  constructor(options: FeedProbeOptions) {
    this.#options = options;
    const { socketPath, from } = options;
    if (from !== undefined) {
      for (const [token, principal] of from.keys) this.keys.set(token, principal);
      for (const token of from.deleted) this.deleted.add(token);
      for (const [id, model] of from.models) this.models.set(id, model);
      for (const [key, account] of from.accounts) this.accounts.set(key, account);
      this.head = from.head;
      this.settings = from.settings;
      this.position = from.position;
    }
    const hello: Hello = {
      protocol: options.protocol ?? FEED_PROTOCOL,
      gatewayId: options.gatewayId ?? 'instance/0',
      session: options.session ?? 'session-1',
      region: options.region ?? 'eu',
      role: 'standalone',
      version: '0',
      have: options.have !== undefined ? options.have : this.position,
      head: options.head !== undefined ? options.head : this.head,
    };
    const decoder = new DownFrameDecoder();
    const call = request({ socketPath, method: 'POST', path: '/feed/v1/stream', agent: false }, (response) => {
      this.status = response.statusCode ?? 0;
      this.#response = response;
      response.on('data', (chunk: Buffer) => {
        if (this.status !== 200) return;
        this.bytes += chunk.length;
        try {
          decoder.push(chunk, (frame) => this.#take(frame));
        } catch (error) {
          this.failure = error as Error;
        }
        this.#tell();
      });
      response.on('close', () => this.#end());
      this.#tell();
    });
    call.on('error', () => this.#end());
    call.end(JSON.stringify(hello));
    this.#close = () => call.destroy();
  }

  close(): void {
    this.#close();
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.#response?.pause();
  }

  resume(): void {
    this.#response?.resume();
  }

  /** Resolves when the condition holds; rejects when the stream fails or the time is up. */
  until(condition: () => boolean, timeoutMs = 5_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => {
        clearTimeout(timer);
        this.#watchers.delete(check);
        if (error === undefined) resolve();
        else reject(error);
      };
      const check = () => {
        if (this.failure !== null) end(this.failure);
        else if (condition()) end();
      };
      const kinds = () => this.frames.map((frame) => frame.t).join(' ');
      const timer = setTimeout(() => end(new Error(`waited ${timeoutMs} ms in vain; frames: ${kinds()}`)), timeoutMs);
      this.#watchers.add(check);
      check();
    });
  }

  untilRev(rev: number): Promise<void> {
    return this.until(() => (this.position?.rev ?? -1) >= rev && this.#incoming === null);
  }

  has(kind: DownFrame['t']): boolean {
    return this.frames.some((frame) => frame.t === kind);
  }

  #incoming: Position | null = null;

  #take(frame: DownFrame): void {
    this.frames.push(frame);
    switch (frame.t) {
      case 'snapshot-begin':
        this.#incoming = frame.position;
        this.keys.clear();
        this.deleted.clear();
        this.models.clear();
        this.accounts.clear();
        break;
      case 'accounts':
        for (const account of frame.accounts) this.accounts.set(accountKey(account.kind, account.id), account);
        break;
      case 'models':
        for (const model of frame.models) this.models.set(model.id, model);
        break;
      case 'deny':
        if (frame.rev > (this.position?.rev ?? Infinity)) for (const token of frame.tokens) this.denied.add(token);
        break;
      case 'keys':
        for (const { principal, spendNano } of frame.keys) {
          this.keys.set(principal.token, principal);
          this.spend.set(principal.token, spendNano);
        }
        break;
      case 'deleted-keys':
        for (const token of frame.tokens) this.deleted.add(token);
        break;
      case 'settings':
        this.settings = frame.settings;
        break;
      case 'snapshot-end':
        if (this.#incoming?.rev !== frame.position.rev) throw new Error('a snapshot ends elsewhere than it began');
        this.#incoming = null;
        this.position = frame.position;
        this.head = frame.head ?? null;
        this.denied.clear();
        this.#acknowledge();
        break;
      case 'delta':
        if (this.position?.rev !== frame.from)
          throw new Error(`delta from ${frame.from} on top of ${this.position?.rev}`);
        for (const change of frame.changes) {
          if (change.rev <= frame.from || change.rev > frame.to) throw new Error('a change outside of its delta');
          if (change.kind === 'model') {
            if (change.value === null) this.models.delete(change.id);
            else this.models.set(change.id, change.value);
          }
          if (isAccountKind(change.kind)) {
            const key = accountKey(change.kind, change.id);
            this.denied.delete(key);
            if (change.value === null) this.accounts.delete(key);
            else this.accounts.set(key, change.value as Account);
          }
          if (change.kind !== 'key') continue;
          this.denied.delete(change.id);
          if (change.value === null) {
            this.keys.delete(change.id);
            this.deleted.add(change.id);
          } else {
            this.keys.set(change.id, change.value);
            this.deleted.delete(change.id);
          }
        }
        this.position = { ...this.position, rev: frame.to };
        this.head = frame.head ?? null;
        this.unconfirmed += 1;
        if (this.#protocol >= 2 && this.unconfirmed > 1)
          throw new Error('a second delta before the first was confirmed');
        this.#acknowledge();
        break;
    }
  }

  #acknowledge(): void {
    // The control process may be gone by then.
    if (this.#options.acknowledge !== false) this.acknowledge().catch(() => undefined);
  }

  get #protocol(): number {
    return this.#options.protocol ?? FEED_PROTOCOL;
  }

  async acknowledge(): Promise<number> {
    const { gatewayId = 'instance/0', session = 'session-1', socketPath } = this.#options;
    const { epoch, rev } = this.position!;
    // Before it is sent: the answer may come after the next delta.
    this.unconfirmed = 0;
    return (await postToFeed(socketPath, '/feed/v1/ack', { gatewayId, session, epoch, rev })).status;
  }

  /** Says what is applied, as a gateway process does each second. `fresh`: has the database asked. */
  async ping(stats: object = {}, fresh = false): Promise<{ status: number; reply: PingReply | null }> {
    const { gatewayId = 'instance/0', session = 'session-1', socketPath } = this.#options;
    const { epoch, rev } = this.position!;
    this.unconfirmed = 0;
    const body = { gatewayId, session, sentAtMs: 1, epoch, rev, fresh, stats };
    const { status, text } = await postToFeed(socketPath, '/feed/v1/ping', body);
    return { status, reply: status === 200 ? parsePingReply(text) : null };
  }

  #end(): void {
    this.ended = true;
    this.#tell();
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

export function postToFeed(socketPath: string, path: string, body: unknown): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method: 'POST', path, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    call.on('error', reject);
    call.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}
