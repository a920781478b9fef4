/** Everything that shapes a process, read once at boot from arguments, environment and `config.yaml`. Immutable. */
export interface Settings {
  readonly role: 'standalone' | 'admin' | 'worker';
  readonly flags: {
    readonly disableLlmApiEndpoints: boolean;
    readonly disableAdminEndpoints: boolean;
    readonly disableAdminUi: boolean;
  };
  readonly host: string;
  readonly port: number;
  /** Number of gateway processes. */
  readonly numWorkers: number;
  /** Absolute path. */
  readonly dataDir: string;
  readonly region: string;
  /** Absolute path, or null. */
  readonly configFilePath: string | null;
  /** Null: embedded PostgreSQL. */
  readonly databaseUrl: string | null;
  /** Direct (not pooled) URL for LISTEN and concurrent indexes; null: `databaseUrl`. */
  readonly directUrl: string | null;
  readonly databaseConnectionPoolLimit: number;
  readonly disableSchemaUpdate: boolean;
  readonly masterKey: string;
  /** Key material for secrets at rest: salt key, else master key. */
  readonly sealingKey: string;
  readonly sealingKeySource: 'salt' | 'master';
  /** `SERVER_ROOT_PATH`, normalised to '' or '/prefix' without trailing slash. */
  readonly serverRootPath: string;
  readonly corsOrigins: readonly string[];
  readonly corsAllowCredentials: boolean;
  readonly tls: { readonly certPath: string; readonly keyPath: string } | null;
  /** CIDR ranges whose `x-forwarded-*` is believed. */
  readonly trustedProxies: readonly string[];
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly json: boolean };
  readonly drainTimeoutMs: number;
  readonly production: boolean;
  readonly bodyBytesMax: number;
  readonly responseHeldBytesMax: number;
  /** The built-in models `fake-gpt` and `fake-embedding` are served: embedded database and no config file. */
  readonly fakeModels: boolean;
  /** How connections to providers are made. */
  readonly outbound: OutboundSettings;
}

export interface OutboundSettings {
  /** Proxy for `https:` destinations (`HTTPS_PROXY`, else `ALL_PROXY`); null: direct. */
  readonly httpsProxy: string | null;
  /** Proxy for `http:` destinations (`HTTP_PROXY`, else `ALL_PROXY`); null: direct. */
  readonly httpProxy: string | null;
  /** `NO_PROXY`, split: lower-case host names, `.suffix`es, addresses, `host:port`, or `*`. */
  readonly noProxy: readonly string[];
  /** Absolute path of a PEM file with authorities accepted beside Node's own (`SSL_CERT_FILE`, or a path in `ssl_verify`); null: only Node's own. */
  readonly caFile: string | null;
  /** False only when the operator switched verification off. */
  readonly sslVerify: boolean;
}
