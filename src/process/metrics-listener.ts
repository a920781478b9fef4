import { createServer } from 'node:http';
import type { Log } from '../observe/log.ts';
import { OperatorError } from '../util/operator-error.ts';

export interface MetricsListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Exposition text of all processes of the instance. */
  readonly text: () => Promise<string>;
  readonly log: Log;
}

/** Scrapers come one at a time; more than this is a mistake or worse. */
const CONNECTIONS_MAX = 32;
const PATHS: ReadonlySet<string> = new Set(['/', '/metrics', '/metrics/']);

/**
 * `PROMETHEUS_METRICS_PORT`: what `/metrics` says, without a key, on a port of its own that is not given to the public. It belongs to the
 * supervisor, so it answers whatever becomes of the others.
 */
export async function listenForMetrics({
  host,
  port,
  text,
  log,
}: MetricsListenerOptions): Promise<() => Promise<void>> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0]!;
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    request.resume();
    if (!isRead || !PATHS.has(path)) {
      response
        .writeHead(isRead ? 404 : 405, { 'content-type': 'text/plain' })
        .end('Only GET /metrics is served here.\n');
      return;
    }
    text().then(
      (body) => {
        const length = Buffer.byteLength(body);
        response.writeHead(200, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
          'content-length': length,
        });
        response.end(body);
      },
      (error: unknown) => {
        log.error({ err: error }, 'metrics could not be collected');
        response.writeHead(500, { 'content-type': 'text/plain' }).end('Metrics could not be collected.\n');
      },
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'is in use by another program' : `can not be used (${error.code})`;
      reject(new OperatorError(`Port ${port} (PROMETHEUS_METRICS_PORT) ${reason}. Choose another one.`));
    });
    server.listen({ host, port }, () => resolve());
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
}
