import { type KeyObject, randomBytes } from 'node:crypto';
import { type Agent, type ClientRequest, request } from 'node:http';
import type { Position } from '../../src/domain/change.ts';
import type { DownFrame, PingReply } from '../../src/feed/protocol.ts';
import { signRequest } from '../../src/feed/request-signature.ts';
import { type SessionKeys, SessionOffer } from '../../src/feed/session-keys.ts';
import { splitSealed } from '../../src/feed/session-line.ts';
import { macRequest, SESSION_PATHS } from '../../src/feed/session-request.ts';
import { statsOf } from '../../tests/support/fleet-probe.ts';

/** How it reaches the control plane, and as whom. */
export type SimulatedRoute = { readonly socketPath: string } | JoinedRoute;

/** Of a worker that joined: signed requests over HTTP to an admin. */
export interface JoinedRoute {
  readonly host: string;
  readonly port: number;
  readonly instanceId: string;
  readonly privateKey: KeyObject;
  readonly installation: string;
  readonly installationKey: KeyObject;
  readonly region: string;
  /** False: as a worker that knows no sessions, which signs everything. */
  readonly offersSession: boolean;
}

/**
 * As much of a gateway process as the control plane sees: it takes the feed, acknowledges, pings and comes back. It keeps a position and no
 * keys, so that a thousand fit beside the instance that is measured.
 */
export class SimulatedGateway {
  position: Position | null = null;
  /** Wall clock of each revision that was applied, or denied ahead of it. */
  readonly appliedAtMs = new Map<number, number>();
  keysSeen = 0;
  /** Pings that were answered. */
  pingsAnswered = 0;
  /** It has heard of a position from the stream that it has now. */
  connected = false;
  #offer: SessionOffer | null = null;
  #keys: SessionKeys | null = null;
  #counter = 0;
  readonly #id: string;
  readonly #route: SimulatedRoute;
  readonly #agent: Agent;
  readonly #session = Math.random().toString(16).slice(2);
  #call: ClientRequest | null = null;
  #ping: NodeJS.Timeout | null = null;
  #rest = '';

  constructor(id: string, route: SimulatedRoute, agent: Agent) {
    this.#id = id;
    this.#route = route;
    this.#agent = agent;
  }

  connect(): void {
    this.#rest = '';
    this.#keys = null;
    this.connected = false;
    const isJoined = 'instanceId' in this.#route;
    this.#offer = isJoined && this.#route.offersSession ? new SessionOffer() : null;
    const hello = {
      protocol: 2,
      gatewayId: this.#id,
      session: this.#session,
      region: isJoined ? this.#route.region : 'simulated',
      role: 'worker',
      version: '0.1.0',
      have: this.position,
      publicUrl: null,
      startedAtMs: Date.now(),
      ...(this.#offer === null ? {} : { sessionKey: this.#offer.sessionKey }),
    };
    const body = JSON.stringify(hello);
    const path = '/feed/v1/stream';
    const call = request(
      { ...this.#target(), method: 'POST', path, agent: false, headers: this.#headers(path, body) },
      (response) => {
        response.setEncoding('utf8');
        response.on('data', (text: string) => this.#take(text));
        response.on('close', () => this.#again(call));
        response.on('error', () => {});
      },
    );
    call.on('error', () => this.#again(call));
    call.end(body);
    this.#call = call;
    this.#schedulePing(Math.random() * 1_000);
  }

  disconnect(): void {
    const call = this.#call;
    this.#call = null;
    call?.destroy();
    if (this.#ping !== null) clearTimeout(this.#ping);
    this.#ping = null;
  }

  /** Full jitter, as the real one. */
  #again(call: ClientRequest): void {
    if (this.#call !== call) return;
    this.disconnect();
    setTimeout(() => this.connect(), Math.random() * 500);
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) {
      if (line === '' || line.startsWith('\t')) continue;
      if (this.#offer !== null && this.#keys === null) {
        this.#agree(this.#offer, line);
        continue;
      }
      if (line.startsWith('{"t":"keys"')) this.keysSeen += 1;
      else if (!line.startsWith('{"t":"deleted-keys"') && !line.startsWith('{"t":"ping"')) this.#frame(parse(line));
    }
  }

  /** Lines are not checked: what the control plane has to do is the same. */
  #agree(offer: SessionOffer, line: string): void {
    if (!('instanceId' in this.#route)) return;
    const { installation, installationKey } = this.#route;
    const parties = { installation, gatewayId: this.#id, session: this.#session };
    this.#keys = offer.accept(splitSealed(line).text, parties, installationKey);
    this.#counter = 0;
  }

  #frame(frame: DownFrame): void {
    const nowMs = Date.now();
    if (frame.t === 'snapshot-end' || (frame.t === 'welcome' && frame.mode === 'delta')) this.connected = true;
    if (frame.t === 'snapshot-end') {
      this.position = frame.position;
      this.#acknowledge();
    } else if (frame.t === 'deny') {
      if (!this.appliedAtMs.has(frame.rev)) this.appliedAtMs.set(frame.rev, nowMs);
    } else if (frame.t === 'delta' && this.position !== null) {
      for (let rev = frame.from + 1; rev <= frame.to; rev++) {
        if (!this.appliedAtMs.has(rev)) this.appliedAtMs.set(rev, nowMs);
      }
      this.position = { ...this.position, epoch: frame.epoch, rev: frame.to };
      this.#acknowledge();
    }
  }

  #acknowledge(): void {
    const { epoch, rev } = this.position!;
    void this.#post('/feed/v1/ack', { gatewayId: this.#id, session: this.#session, epoch, rev });
  }

  #schedulePing(delayMs: number): void {
    if (this.#ping !== null) clearTimeout(this.#ping);
    this.#ping = setTimeout(() => {
      const { epoch = 0, rev = 0 } = this.position ?? {};
      const body = {
        gatewayId: this.#id,
        session: this.#session,
        sentAtMs: performance.now(),
        epoch,
        rev,
        fresh: false,
        stats: statsOf(),
      };
      void this.#post('/feed/v1/ping', body).then((answer) => {
        if (this.#call === null) return;
        if (answer !== null) this.pingsAnswered += 1;
        const next = answer === null ? undefined : (JSON.parse(answer) as Partial<PingReply>).intervalMs;
        this.#schedulePing(Math.max(1_000, next ?? 1_000));
      });
    }, delayMs);
  }

  /** Null: it failed, which the next one makes good. */
  #post(path: string, body: object): Promise<string | null> {
    return new Promise((resolve) => {
      const text = JSON.stringify(body);
      const call = request(
        { ...this.#target(), method: 'POST', path, agent: this.#agent, headers: this.#headers(path, text) },
        (response) => {
          let answer = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            answer += chunk;
          });
          response.on('end', () => resolve(response.statusCode === 200 ? answer : null));
          response.on('error', () => resolve(null));
        },
      );
      call.on('error', () => resolve(null));
      call.end(text);
    });
  }

  #target(): { readonly socketPath: string } | { readonly host: string; readonly port: number } {
    if ('socketPath' in this.#route) return this.#route;
    const { host, port } = this.#route;
    return { host, port };
  }

  #headers(path: string, body: string): Record<string, string | number> {
    const length = { 'content-length': Buffer.byteLength(body) };
    if (!('instanceId' in this.#route)) return length;
    const { instanceId, privateKey } = this.#route;
    const timeMs = Date.now();
    const asked = { method: 'POST', path, body };
    if (this.#keys !== null && SESSION_PATHS.has(path)) {
      this.#counter += 1;
      const stamp = { instanceId, sessionId: this.#keys.id, counter: this.#counter, timeMs };
      return { ...length, ...macRequest(asked, stamp, this.#keys) };
    }
    const nonce = randomBytes(16).toString('base64url');
    return { ...length, ...signRequest(asked, { instanceId, timeMs, nonce }, privateKey) };
  }
}

/** Without the signature and the MAC that a line may carry. */
function parse(line: string): DownFrame {
  const tab = line.indexOf('\t');
  return JSON.parse(tab < 0 ? line : line.slice(0, tab)) as DownFrame;
}
