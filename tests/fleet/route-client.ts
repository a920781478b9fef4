import { Agent, request as requestHttp } from 'node:http';

export interface RouteAnswer {
  readonly status: number;
  readonly callId: string | undefined;
  readonly text: string;
}

export interface RouteRequest {
  readonly method: string;
  /** Sent as it is. */
  readonly target: string;
  readonly key: string | null;
  readonly body?: string | undefined;
  /** Asks for a WebSocket. */
  readonly upgrade?: boolean;
}

const CONNECTIONS = 16;
const ANSWER_MS = 15_000;

/** Sends many requests over a few connections that are kept alive. Only upgrades take one of their own. */
export class RouteClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  send({ method, target, key, body, upgrade = false }: RouteRequest): Promise<RouteAnswer> {
    const bytes = Buffer.from(body ?? '');
    return new Promise((resolve, reject) => {
      const request = requestHttp({
        host: '127.0.0.1',
        port: this.#port,
        method,
        path: target,
        agent: upgrade ? false : this.#agent,
        timeout: ANSWER_MS,
        headers: {
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length }),
          ...(upgrade
            ? {
                connection: 'Upgrade',
                upgrade: 'websocket',
                'sec-websocket-version': '13',
                'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
              }
            : {}),
        },
      });
      const fail = (error: Error): void => reject(new Error(`${method} ${target}: ${error.message}`, { cause: error }));
      request.once('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
      request.once('error', fail);
      request.once('upgrade', (answer, socket) => {
        socket.destroy();
        resolve({ status: answer.statusCode ?? 0, callId: callIdOf(answer.headers), text: '' });
      });
      request.once('response', (answer) => {
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.once('error', fail);
        answer.once('end', () => {
          const text = Buffer.concat(pieces).toString('utf8');
          resolve({ status: answer.statusCode ?? 0, callId: callIdOf(answer.headers), text });
        });
      });
      request.end(bytes);
    });
  }

  /** All of them, some at a time, answers in the order of the requests. */
  async sendAll<T extends RouteRequest>(requests: readonly T[]): Promise<(readonly [T, RouteAnswer])[]> {
    const answers: (readonly [T, RouteAnswer])[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (;;) {
        const index = next++;
        const request = requests[index];
        if (request === undefined) return;
        answers[index] = [request, await this.send(request)];
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, work));
    return answers;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function callIdOf(headers: NodeJS.Dict<string | string[]>): string | undefined {
  const id = headers['x-litellm-call-id'];
  return typeof id === 'string' ? id : undefined;
}
