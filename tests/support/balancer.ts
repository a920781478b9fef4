import { Agent, request as requestHttp } from 'node:http';

/** What became of one call through the balancer. */
export interface BalancedCall {
  readonly status: number | null;
  /** The stream ended with its `[DONE]`, or the answer with its last byte. */
  readonly complete: boolean;
  readonly reason: string;
}

export interface BalancerOptions {
  readonly ports: readonly number[];
  /** As a balancer in front of a region does it. */
  readonly probeIntervalMs: number;
}

/**
 * A client that balances as a load balancer does: it asks each target's `/health/readiness` now and then, on a new connection, and sends
 * calls over kept-alive connections to those that said they are ready. It never sends a call twice.
 */
export class Balancer implements Disposable {
  readonly #options: BalancerOptions;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #ready = new Map<number, boolean>();
  /** What probes of `/health/liveliness` heard from a target that is up; null: nobody answered. */
  readonly liveliness = new Map<number, (number | null)[]>();
  readonly #timer: NodeJS.Timeout;
  #turn = 0;

  constructor(options: BalancerOptions) {
    this.#options = options;
    for (const port of options.ports) this.liveliness.set(port, []);
    this.#timer = setInterval(() => void this.#probe(), options.probeIntervalMs);
  }

  isReady(port: number): boolean {
    return this.#ready.get(port) === true;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#agent.destroy();
  }

  /** Fails without a ready target, as a balancer answers 503. */
  call(path: string, key: string, body: object): Promise<BalancedCall> {
    const ready = this.#options.ports.filter((port) => this.isReady(port));
    const port = ready[this.#turn++ % Math.max(1, ready.length)];
    if (port === undefined) return Promise.resolve({ status: null, complete: false, reason: 'no target is ready' });
    const bytes = JSON.stringify(body);
    return new Promise((resolve) => {
      let text = '';
      const call = requestHttp(
        {
          host: '127.0.0.1',
          port,
          path,
          method: 'POST',
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${key}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(bytes),
          },
        },
        (response) => {
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text = (text + chunk).slice(-2_000);
          });
          const isStream = String(response.headers['content-type']).startsWith('text/event-stream');
          response.on('end', () => {
            const complete = response.complete && (!isStream || text.includes('data: [DONE]'));
            resolve({ status: response.statusCode ?? null, complete, reason: text.slice(0, 200) });
          });
          response.on('error', (error) => resolve({ status: null, complete: false, reason: error.message }));
        },
      );
      call.on('error', (error: NodeJS.ErrnoException) =>
        resolve({ status: null, complete: false, reason: `${error.code ?? ''} ${error.message} (port ${port})` }),
      );
      call.end(bytes);
    });
  }

  async #probe(): Promise<void> {
    await Promise.all(
      this.#options.ports.map(async (port) => {
        const [readiness, liveliness] = await Promise.all([
          statusOf(port, '/health/readiness'),
          statusOf(port, '/health/liveliness'),
        ]);
        this.#ready.set(port, readiness === 200);
        this.liveliness.get(port)?.push(liveliness);
      }),
    );
  }
}

function statusOf(port: number, path: string): Promise<number | null> {
  return new Promise((resolve) => {
    const call = requestHttp({ host: '127.0.0.1', port, path, agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? null));
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(null));
    call.end();
  });
}
