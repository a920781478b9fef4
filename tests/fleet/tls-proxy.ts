import { type IncomingMessage, request as requestHttp, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from '../support/tls.ts';

/** A reverse proxy as balancers are: TLS ends here, connections behind it are others, and nothing but HTTP gets through. */
export interface TlsProxy extends AsyncDisposable {
  readonly port: number;
  /** Of all requests so far. */
  readonly paths: readonly string[];
}

export async function startTlsProxy({
  certificate,
  to,
}: {
  readonly certificate: Certificate;
  readonly to: number;
}): Promise<TlsProxy> {
  const paths: string[] = [];
  const relay = (request: IncomingMessage, response: ServerResponse): void => {
    paths.push(request.url ?? '');
    const { method, url: path, headers } = request;
    const onward = { ...headers, 'x-forwarded-proto': 'https', via: '1.1 proxy' };
    const upstream = requestHttp(
      { host: '127.0.0.1', port: to, method, path, headers: onward, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      },
    );
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  };
  const server = createServer({ cert: certificate.cert, key: certificate.key }, relay);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    paths,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
