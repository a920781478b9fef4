import { type Agent, type ClientRequest, request } from 'node:http';
import type { Position } from '../../src/domain/change.ts';
import type { DownFrame, PingReply } from '../../src/feed/protocol.ts';
import { statsOf } from '../../tests/support/fleet-probe.ts';

/**
 * As much of a gateway process as the control plane sees: it takes the feed, acknowledges, pings and comes back. It keeps a position and no
 * keys, so that a thousand fit beside the instance that is measured.
 */
export class SimulatedGateway {
  position: Position | null = null;
  /** Wall clock of each revision that was applied, or denied ahead of it. */
  readonly appliedAtMs = new Map<number, number>();
  keysSeen = 0;
  readonly #id: string;
  readonly #socketPath: string;
  readonly #agent: Agent;
  readonly #session = Math.random().toString(16).slice(2);
  #call: ClientRequest | null = null;
  #ping: NodeJS.Timeout | null = null;
  #rest = '';

  constructor(id: string, socketPath: string, agent: Agent) {
    this.#id = id;
    this.#socketPath = socketPath;
    this.#agent = agent;
  }

  connect(): void {
    this.#rest = '';
    const hello = {
      protocol: 2,
      gatewayId: this.#id,
      session: this.#session,
      region: 'simulated',
      role: 'worker',
      version: '0.1.0',
      have: this.position,
      publicUrl: null,
      startedAtMs: Date.now(),
    };
    const call = request(
      { socketPath: this.#socketPath, method: 'POST', path: '/feed/v1/stream', agent: false },
      (response) => {
        response.setEncoding('utf8');
        response.on('data', (text: string) => this.#take(text));
        response.on('close', () => this.#again(call));
        response.on('error', () => {});
      },
    );
    call.on('error', () => this.#again(call));
    call.end(JSON.stringify(hello));
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
      if (line === '') continue;
      if (line.startsWith('{"t":"keys"')) this.keysSeen += 1;
      else if (!line.startsWith('{"t":"deleted-keys"') && !line.startsWith('{"t":"ping"')) this.#frame(parse(line));
    }
  }

  #frame(frame: DownFrame): void {
    const nowMs = Date.now();
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
        {
          socketPath: this.#socketPath,
          method: 'POST',
          path,
          agent: this.#agent,
          headers: { 'content-length': Buffer.byteLength(text) },
        },
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
}

/** Without the signature that a line may carry. */
function parse(line: string): DownFrame {
  const tab = line.indexOf('\t');
  return JSON.parse(tab < 0 ? line : line.slice(0, tab)) as DownFrame;
}
