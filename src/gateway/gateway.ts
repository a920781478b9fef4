import type { Log } from '../observe/log.ts';
import type { Relay } from './endpoints/relay-to-control.ts';
import type { GatewayContext } from './gateway-context.ts';
import type { CorsSettings } from './http/cors.ts';
import { Pipeline } from './pipeline.ts';
import { createGatewayServer, type GatewayServer, type ServerLimits, type TlsFiles } from './server.ts';

export interface GatewayOptions {
  readonly context: GatewayContext;
  readonly relay: Relay | null;
  readonly cors: CorsSettings;
  readonly metricsText: () => Promise<string>;
  readonly limits: ServerLimits;
  readonly tls: TlsFiles | null;
  readonly log: Log;
}

/** The data plane's front: pipeline and server, ready to listen. */
export function createGateway(options: GatewayOptions): GatewayServer {
  const pipeline = new Pipeline(options.context, {
    cors: options.cors,
    relay: options.relay,
    metricsText: options.metricsText,
  });
  return createGatewayServer(pipeline, options.limits, options.tls, options.log, options.context.clock);
}
