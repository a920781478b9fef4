import { type ClientRequest, request } from 'node:http';
import { DownFrameDecoder, parseUsageReply } from './codec.ts';
import { type FeedAction, type FeedEvent, initialFeedState, step } from './feed-state.ts';
import {
  FEED_PROTOCOL,
  type Hello,
  type KeyWithSpend,
  type Position,
  type Principal,
  type UsageBatch,
} from './types.ts';

/** A gateway process of version 0.1.0 as the feed sees it: its state machine, its decoder, its answers. */
export class Protocol1Client {
  readonly keys = new Map<string, Principal>();
  readonly deleted = new Set<string>();
  settings: Readonly<Record<string, unknown>> = {};
  /** What it would have logged as a warning or an error. */
  readonly complaints: string[] = [];
  readonly hellos: Hello[] = [];
  confirmations = 0;
  acknowledged: Position | null = null;
  ended: string | null = null;
  readonly #socketPath: string;
  readonly #gatewayId: string;
  #state = initialFeedState(null);
  #incoming: { keys: KeyWithSpend[]; deleted: string[]; settings: Record<string, unknown> } | null = null;
  #call: ClientRequest | null = null;
  #raw = '';

  constructor(socketPath: string, gatewayId: string) {
    this.#socketPath = socketPath;
    this.#gatewayId = gatewayId;
  }

  get position(): Position | null {
    return this.#state.have;
  }

  get phase(): string {
    return this.#state.phase;
  }

  /** Every line that came, unknown kinds included. */
  get lines(): Record<string, unknown>[] {
    const whole = this.#raw.slice(0, this.#raw.lastIndexOf('\n') + 1).split('\n');
    return whole.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  run(): void {
    this.#handle({ type: 'start' });
  }

  /** As if the connection had been cut; it dials again at once. */
  drop(): void {
    this.#call?.destroy();
  }

  stop(): void {
    this.#handle({ type: 'stop' });
  }

  async ship(batch: UsageBatch) {
    return parseUsageReply((await this.#post('/feed/v1/usage', batch)).text);
  }

  #handle(event: FeedEvent): void {
    const { state, actions } = step(this.#state, event);
    this.#state = state;
    for (const action of actions) this.#act(action);
  }

  #act(action: FeedAction): void {
    switch (action.do) {
      case 'dial':
        this.#dial(action.have);
        break;
      case 'hang-up':
        this.#call?.destroy();
        this.#call = null;
        this.#incoming = null;
        break;
      case 'wait':
        setTimeout(() => this.#handle({ type: 'retry' }), action.atLeastMs);
        break;
      case 'begin-snapshot':
        this.#incoming = { keys: [], deleted: [], settings: {} };
        break;
      case 'add-keys':
        this.#incoming?.keys.push(...action.keys);
        break;
      case 'add-deleted-keys':
        this.#incoming?.deleted.push(...action.tokens);
        break;
      case 'add-settings':
        Object.assign(this.#incoming!.settings, action.settings);
        break;
      case 'commit-snapshot': {
        const { keys, deleted, settings } = this.#incoming!;
        this.keys.clear();
        this.deleted.clear();
        for (const { principal } of keys) this.keys.set(principal.token, principal);
        for (const token of deleted) this.deleted.add(token);
        this.settings = settings;
        this.#acknowledge(action.position);
        break;
      }
      case 'apply-delta':
        for (const change of action.changes) {
          if (change.kind !== 'key') continue;
          if (change.value === null) this.keys.delete(change.id);
          else this.keys.set(change.id, change.value);
          if (change.value === null) this.deleted.add(change.id);
          else this.deleted.delete(change.id);
        }
        this.#acknowledge(action.to);
        break;
      case 'confirm':
        this.confirmations += 1;
        break;
      case 'report':
        if (action.level === 'warn' || action.level === 'error') this.complaints.push(action.message);
        break;
      case 'foreign-installation':
      case 'superseded':
        this.ended = action.do;
        break;
    }
  }

  #dial(have: Position | null): void {
    const decoder = new DownFrameDecoder();
    const hello: Hello = {
      protocol: FEED_PROTOCOL,
      gatewayId: this.#gatewayId,
      session: 'session of 0.1.0',
      region: 'eu',
      role: 'worker',
      version: '0.1.0',
      have,
    };
    this.hellos.push(hello);
    const call = request({ socketPath: this.#socketPath, method: 'POST', path: '/feed/v1/stream', agent: false });
    this.#call = call;
    const lost = (reason: string) => {
      if (this.#call !== call) return;
      this.#call = null;
      this.#handle({ type: 'lost', reason });
    };
    call.on('response', (response) => {
      if (response.statusCode !== 200) return lost(`answered ${response.statusCode}`);
      this.#handle({ type: 'connected' });
      response.on('data', (chunk: Buffer) => {
        if (this.#call !== call) return;
        this.#raw += chunk.toString('utf8');
        try {
          decoder.push(chunk, (frame) => this.#handle({ type: 'frame', frame }));
        } catch (error) {
          lost((error as Error).message);
        }
      });
      response.on('close', () => lost('closed'));
      response.on('error', (error) => lost(error.message));
    });
    call.on('error', (error) => lost(error.message));
    call.end(JSON.stringify(hello));
  }

  #acknowledge({ installation, epoch, rev }: Position): void {
    const ack = { gatewayId: this.#gatewayId, session: 'session of 0.1.0', epoch, rev };
    void this.#post('/feed/v1/ack', ack).then(({ status }) => {
      if (status === 204) this.acknowledged = { installation, epoch, rev };
    });
  }

  #post(path: string, body: unknown): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socketPath, method: 'POST', path, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString('utf8');
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      call.on('error', reject);
      call.end(JSON.stringify(body));
    });
  }
}
