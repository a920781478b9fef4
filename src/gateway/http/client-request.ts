import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { type BodyReader, readBody, waitsForContinue } from './read-body.ts';

/** What the request path needs of a request, whichever front took it from the socket. */
export interface ClientRequest {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
  readBody(bytesMax: number, reader: BodyReader): void;
  /** Ends the connection without reading the rest. */
  destroy(): void;
}

/** A request of `node:http`; its body is read when it is asked for. */
export class NodeClientRequest implements ClientRequest {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(message: IncomingMessage, response: ServerResponse) {
    this.headers = message.headers;
    this.socket = message.socket;
    this.#message = message;
    this.#response = response;
  }

  readBody(bytesMax: number, reader: BodyReader): void {
    readBody(this.#message, bytesMax, reader, () => {
      if (waitsForContinue(this.#message)) this.#response.writeContinue();
    });
  }

  destroy(): void {
    this.#message.destroy();
  }
}

/** A request that came complete, or (`body` null) whose client left before it was. */
export class CompleteClientRequest implements ClientRequest {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined; destroy(): unknown };
  readonly #body: Buffer | null;

  constructor(headers: IncomingHttpHeaders, socket: CompleteClientRequest['socket'], body: Buffer | null) {
    this.headers = headers;
    this.socket = socket;
    this.#body = body;
  }

  readBody(bytesMax: number, reader: BodyReader): void {
    if (this.#body === null) return;
    if (this.#body.length > bytesMax) reader.onBodyError(new ClavigerError('body_too_large', { limitBytes: bytesMax }));
    else reader.onBody(this.#body);
  }

  destroy(): void {
    this.socket.destroy();
  }
}
