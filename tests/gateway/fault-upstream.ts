import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request as it arrived, with the means to answer it well or badly. */
export interface UpstreamCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** For answers that no HTTP library would send. */
  readonly socket: Socket;
  readonly body: Buffer;
  /** Resolves when the connection or the answer is over, with the time. */
  readonly closed: Promise<number>;
}

/** A provider in this process whose every answer is written by the test. */
export interface FaultUpstream {
  readonly url: string;
  readonly port: number;
  /** What to do with the requests from now on; also forgets the calls seen so far. */
  answer(with_: (call: UpstreamCall) => void): void;
  readonly calls: readonly UpstreamCall[];
  /** The call of this number, as soon as it has come. */
  call(index: number): Promise<UpstreamCall>;
  connections(): Promise<number>;
  stop(): Promise<void>;
}

export async function startFaultUpstream(): Promise<FaultUpstream> {
  let act: (call: UpstreamCall) => void = ({ response }) => response.end('{}');
  let calls: UpstreamCall[] = [];
  let waiters: (() => void)[] = [];
  const server = createServer((request, response) => {
    const closed = new Promise<number>((resolve) => response.once('close', () => resolve(performance.now())));
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.once('end', () => {
      const call = { request, response, socket: request.socket, body: Buffer.concat(pieces), closed };
      calls.push(call);
      for (const wake of waiters.splice(0)) wake();
      act(call);
    });
  });
  // Node closes an idle connection after its time-out plus a second, which is longer than the gateway keeps it.
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    answer(with_) {
      act = with_;
      calls = [];
      waiters = [];
    },
    get calls() {
      return calls;
    },
    async call(index) {
      for (;;) {
        const call = calls[index];
        if (call !== undefined) return call;
        await new Promise<void>((resolve) => waiters.push(resolve));
      }
    },
    connections() {
      return new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      });
    },
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

const ID = 'chatcmpl-upstream';

export const COMPLETION = {
  id: ID,
  object: 'chat.completion',
  created: 1_760_000_000,
  model: 'up-model',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Grüße 🌍' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 },
};

export const DONE = 'data: [DONE]\n\n';

export function sse(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export function chunk(content: string, finish: string | null = null): string {
  const choices = [{ index: 0, delta: { content }, finish_reason: finish }];
  return sse({ id: ID, object: 'chat.completion.chunk', created: 1_760_000_000, model: 'up-model', choices });
}

export const USAGE_CHUNK: string = sse({
  id: ID,
  object: 'chat.completion.chunk',
  choices: [],
  usage: COMPLETION.usage,
});

/** A complete stream of two content chunks. */
export const STREAM: string = chunk('Grüße ') + chunk('🌍') + chunk('', 'stop') + USAGE_CHUNK + DONE;

export function sendJson(
  { response }: UpstreamCall,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

/** Head of a stream and its first bytes; the test goes on from there. */
export function beginStream({ response }: UpstreamCall, ...pieces: readonly (string | Buffer)[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  for (const piece of pieces) response.write(piece);
}
