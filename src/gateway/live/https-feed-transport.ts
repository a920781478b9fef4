import type { Readable } from 'node:stream';
import { parseRefusal } from '../../feed/join.ts';
import type { Log } from '../../observe/log.ts';
import { type ControlPlaneAnswer, type ControlPlaneClient, describeFailure } from './control-plane-client.ts';
import {
  FEED_ANSWER_BYTES_MAX,
  type FeedAnswer,
  FeedAnswerError,
  type FeedStreamHandler,
  type FeedTransport,
} from './feed-transport.ts';
import type { RequestSigner } from './request-signer.ts';

export interface HttpsFeedTransportOptions {
  /** Admins, tried in turn. */
  readonly addresses: readonly string[];
  readonly client: ControlPlaneClient;
  readonly signer: RequestSigner;
  readonly log: Log;
}

/**
 * How a joined worker reaches its control plane: signed requests to one admin after the other until one answers. What goes up goes to the
 * admin that has the stream, because that is where this process is known to be connected.
 */
export class HttpsFeedTransport implements FeedTransport {
  readonly #options: HttpsFeedTransportOptions;
  /** Of the admin that is asked next. */
  #index = 0;
  #streams = 0;
  /** The refusal that was reported last; said once, not at each attempt. */
  #reported: string | null = null;

  constructor(options: HttpsFeedTransportOptions) {
    this.#options = options;
  }

  get address(): string {
    return new URL(this.#address(this.#index)).origin;
  }

  stream(path: string, body: string, handler: FeedStreamHandler): { close(): void } {
    const abort = new AbortController();
    let open = true;
    const end = (reason: string): void => {
      if (!open) return;
      open = false;
      abort.abort();
      handler.onEnd(reason);
    };
    const index = this.#index;
    this.#send(index, path, body, abort.signal).then(
      async ({ answer, refused }) => {
        if (!open) {
          answer.body.on('error', () => undefined).destroy();
          return;
        }
        if (answer.status !== 200) {
          this.#moveOnFrom(index);
          end(`${this.#address(index)} answered ${answer.status}${refused === '' ? '' : `: ${refused}`}`);
          return;
        }
        this.#streams += 1;
        answer.body.once('close', () => {
          this.#streams -= 1;
        });
        handler.onOpen();
        answer.body.on('data', (chunk: Buffer) => {
          if (open) handler.onData(chunk);
        });
        answer.body.on('end', () => end('the stream ended'));
        answer.body.on('error', (error) => end(describeFailure(error)));
        answer.body.on('close', () => end('the connection was closed'));
      },
      (error: unknown) => {
        this.#moveOnFrom(index);
        end(`${this.#address(index)}: ${describeFailure(error)}`);
      },
    );
    return {
      close: () => {
        open = false;
        abort.abort();
      },
    };
  }

  async post(path: string, body: string | Buffer, timeoutMs: number): Promise<FeedAnswer> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), timeoutMs);
    const index = this.#index;
    try {
      const { answer, refused } = await this.#send(index, path, body, abort.signal);
      if (answer.status >= 500 && this.#streams === 0) this.#moveOnFrom(index);
      if (answer.status !== 200 && answer.status !== 204) return { status: answer.status, body: refused };
      return { status: answer.status, body: await readAll(answer.body) };
    } catch (error) {
      if (this.#streams === 0) this.#moveOnFrom(index);
      if (error instanceof FeedAnswerError) throw error;
      throw new FeedAnswerError(
        abort.signal.aborted
          ? `no answer to ${path} from ${this.#address(index)} within ${timeoutMs} ms`
          : `${this.#address(index)}: ${describeFailure(error)}`,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#options.client.close();
  }

  /** `refused`: what an answer that is not 200 or 204 says, its body read. */
  async #send(
    index: number,
    path: string,
    body: string | Buffer,
    signal: AbortSignal,
  ): Promise<{ readonly answer: ControlPlaneAnswer; readonly refused: string }> {
    const { client, signer } = this.#options;
    const send = (headers: Readonly<Record<string, string>>): Promise<ControlPlaneAnswer> =>
      client.post(this.#address(index), { path, headers, body, signal });
    const ofSession = signer.sessionHeaders(path, body);
    let answer = await send(ofSession ?? signer.headers(path, body));
    const attemptsMax = ofSession === null ? ATTEMPTS_MAX : ATTEMPTS_MAX + 1;
    if (ofSession !== null && (answer.status === 200 || answer.status === 204)) signer.sessionTaken();
    for (let attempt = 1; answer.status !== 200 && answer.status !== 204; attempt++) {
      const refusal = parseRefusal(await readAll(answer.body));
      const nonce = answer.status === 401 || answer.status === 403 ? signer.learn(refusal) : null;
      if (nonce === null || attempt > attemptsMax) {
        this.#report(refusal.code, refusal.error);
        return { answer, refused: refusal.error };
      }
      // Signed, whatever it was before.
      answer = await send(signer.headers(path, body, nonce));
    }
    this.#reported = null;
    return { answer, refused: '' };
  }

  #report(code: string | null, error: string): void {
    if (code === this.#reported || (code !== 'revoked' && code !== 'expired' && code !== 'unknown_instance')) return;
    this.#reported = code;
    this.#options.log.error(
      { code },
      `The control plane refuses this worker: ${error} What is known here is served on, until the fence.`,
    );
  }

  #address(index: number): string {
    return this.#options.addresses[index % this.#options.addresses.length]!;
  }

  /** Nothing when another request has moved on meanwhile. */
  #moveOnFrom(index: number): void {
    if (this.#index === index) this.#index = (index + 1) % this.#options.addresses.length;
  }
}

/** The time may be wrong and the key may be another one, so that a request may have to be sent twice more. */
const ATTEMPTS_MAX = 2;

async function readAll(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > FEED_ANSWER_BYTES_MAX) {
      throw new FeedAnswerError(`an answer is longer than ${FEED_ANSWER_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
