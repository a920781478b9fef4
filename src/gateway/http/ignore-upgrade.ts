import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** The only protocol that any route switches to. */
export function wantsWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === 'websocket';
}

/**
 * A server may ignore an offer to switch protocols, and Java's HTTP client makes one (`h2c`) with each first request. Node
 * has taken such a connection out of HTTP already, so the request is put back in front of it without the offer.
 */
export function ignoreUpgrade(server: Server, request: IncomingMessage, socket: Socket, head: Buffer): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  const { rawHeaders } = request;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (!OFFER.has(name.toLowerCase())) lines.push(`${name}: ${rawHeaders[index + 1]}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit((socket as TLSSocket).encrypted === true ? 'secureConnection' : 'connection', socket);
}

/** `connection` goes with them: kept, it would name a header that is no longer there. */
const OFFER: ReadonlySet<string> = new Set(['upgrade', 'http2-settings', 'connection']);
