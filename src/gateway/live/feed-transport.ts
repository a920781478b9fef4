import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';

/** How a gateway process reaches its control plane. Here: plain HTTP on the unix socket of the instance. */
export interface FeedTransport {
  /** Of the control plane that is asked now, for people; absent: it is next door. */
  readonly address?: string;
  /**
   * POST whose answer is read as it comes. The handler is not called before this returns, nor after `close` or `onEnd`: what
   * is still on its way then belongs to nobody.
   */
  stream(path: string, body: string, handler: FeedStreamHandler): { close(): void };
  /** POST with a short answer. Rejects when there is none within `timeoutMs`. */
  post(path: string, body: string | Buffer, timeoutMs: number): Promise<FeedAnswer>;
  close(): void;
}

export interface FeedStreamHandler {
  /** The head has come with status 200. */
  onOpen(): void;
  onData(chunk: Buffer): void;
  onEnd(reason: string): void;
}

export interface FeedAnswer {
  readonly status: number;
  readonly body: string;
}

/** A longer answer to a POST is an error. The longest honest one lists the spend of 500 keys. */
export const FEED_ANSWER_BYTES_MAX = 1024 * 1024;

/** Ping, three fresh pings, acknowledgement, usage of two logs, denials: none waits for another. */
const FEED_SOCKETS_MAX = 8;

export class FeedAnswerError extends Error {
  override readonly name = 'FeedAnswerError';
}

export class SocketFeedTransport implements FeedTransport {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: FEED_SOCKETS_MAX });

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  stream(path: string, body: string, handler: FeedStreamHandler): { close(): void } {
    let open = true;
    const end = (reason: string): void => {
      if (!open) return;
      open = false;
      request.destroy();
      handler.onEnd(reason);
    };
    // No agent: the connection of a stream is never used for anything else.
    const request = this.#request(path, body, undefined);
    request.on('response', (response) => {
      if (response.statusCode !== 200) {
        end(`the control process answered ${response.statusCode}`);
        return;
      }
      if (open) handler.onOpen();
      response.on('data', (chunk: Buffer) => {
        if (open) handler.onData(chunk);
      });
      response.on('end', () => end('the stream ended'));
      response.on('error', (error) => end(describe(error)));
      response.on('close', () => end('the connection was closed'));
    });
    request.on('error', (error) => end(describe(error)));
    request.on('close', () => end('the connection was closed'));
    return {
      close: () => {
        open = false;
        request.destroy();
      },
    };
  }

  post(path: string, body: string | Buffer, timeoutMs: number): Promise<FeedAnswer> {
    return new Promise((resolve, reject) => {
      const request = this.#request(path, body, this.#agent);
      const timer = setTimeout(() => {
        request.destroy(new FeedAnswerError(`no answer to ${path} within ${timeoutMs} ms`));
      }, timeoutMs);
      const fail = (error: Error): void => {
        clearTimeout(timer);
        reject(error);
      };
      request.on('error', fail);
      request.on('response', (response) => {
        readAnswer(response).then((text) => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, body: text });
        }, fail);
      });
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #request(path: string, body: string | Buffer, agent: Agent | undefined): ClientRequest {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const headers = { 'content-type': 'application/json', 'content-length': bytes.length, host: 'control' };
    const call = request({
      socketPath: this.#socketPath,
      method: 'POST',
      path,
      headers,
      agent: agent ?? false,
    });
    call.end(bytes);
    return call;
  }
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > FEED_ANSWER_BYTES_MAX)
      throw new FeedAnswerError(`an answer is longer than ${FEED_ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function describe(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ECONNREFUSED' ? `the control process is not there (${code})` : error.message;
}
