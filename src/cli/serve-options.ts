import type { ServeFlags } from '../settings/resolve-settings.ts';

/** One option of `claviger serve`. `docs/reference/config.md` lists them from here. */
export interface ServeOption {
  /** As commander reads it. LiteLLM's spelling; `--num-workers` works as well as `--num_workers`. */
  readonly flags: string;
  /** The variable that says the same. */
  readonly variable: string;
  readonly meaning: string;
}

export const SERVE_OPTIONS: readonly ServeOption[] = [
  { flags: '-c, --config <path>', variable: 'CONFIG_FILE_PATH', meaning: 'config.yaml to read' },
  { flags: '--port <number>', variable: 'PORT', meaning: 'public port (default: 4000)' },
  { flags: '--host <address>', variable: 'HOST', meaning: 'address to listen on (default: 0.0.0.0)' },
  { flags: '--num_workers <number>', variable: 'NUM_WORKERS', meaning: 'gateway processes (default: 1)' },
  {
    flags: '--prometheus_metrics_port <number>',
    variable: 'PROMETHEUS_METRICS_PORT',
    meaning: 'another port, where metrics are served without a key',
  },
  { flags: '--ssl_certfile_path <path>', variable: 'SSL_CERTFILE_PATH', meaning: 'PEM certificate of the public port' },
  { flags: '--ssl_keyfile_path <path>', variable: 'SSL_KEYFILE_PATH', meaning: 'PEM key of the certificate' },
  { flags: '--debug', variable: 'LITELLM_LOG=DEBUG', meaning: 'log everything' },
  { flags: '--detailed_debug', variable: 'LITELLM_LOG=DEBUG', meaning: 'the same' },
];

/** What commander parsed, as settings know it. */
export function serveFlags(options: Readonly<Record<string, unknown>>): ServeFlags {
  const text = (name: string): string | undefined => {
    const value = options[name];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    config: text('config'),
    port: text('port'),
    host: text('host'),
    numWorkers: text('num_workers'),
    prometheusMetricsPort: text('prometheus_metrics_port'),
    sslCertfilePath: text('ssl_certfile_path'),
    sslKeyfilePath: text('ssl_keyfile_path'),
    debug: options['debug'] === true || options['detailed_debug'] === true,
  };
}
