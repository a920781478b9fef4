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
  /** `PROMETHEUS_METRICS_PORT`: metrics are served there without a key; null: only `/metrics` on the public port. */
  readonly metricsPort: number | null;
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
  /** For reads that may be stale (`DATABASE_URL_READ_REPLICA`); null: `databaseUrl`. */
  readonly readReplicaUrl: string | null;
  readonly databaseConnectionPoolLimit: number;
  /** Models of the database are served and may be managed. */
  readonly storeModelInDb: boolean;
  /** `CONTROL_PLANE_URL`: admins that a joined worker takes its orders from, tried in turn; empty: the control process of the instance. */
  readonly controlPlaneUrls: readonly string[];
  /** `CLAVIGER_JOIN_TOKEN`: used once, at the first start of a joined worker. */
  readonly joinToken: string | null;
  /** `CLAVIGER_SNAPSHOT_MIRROR`: a directory or URL with snapshots that any worker has written; null: none. */
  readonly snapshotMirror: string | null;
  /** `CLAVIGER_FENCE`: age of knowledge at which no key is admitted any more, for all classes of keys; null: by class. */
  readonly fenceMs: number | null;
  /** `LITELLM_MODEL_COST_MAP_URL`: an address or an absolute path with a price list; null: only the bundled one. */
  readonly modelCostMap: string | null;
  /** `PROXY_BASE_URL`: where clients reach this instance, or null. */
  readonly publicUrl: string | null;
  readonly disableSchemaUpdate: boolean;
  /** Empty on a worker with `controlPlaneUrls`: it does not know it. */
  readonly masterKey: string;
  /** Key material for secrets at rest: salt key, else master key; on a worker with `controlPlaneUrls` that of its identity. */
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
  /** Part of it during which calls are still taken, so that balancers see that readiness is off. */
  readonly drainNoticeMs: number;
  readonly production: boolean;
  readonly bodyBytesMax: number;
  readonly responseHeldBytesMax: number;
  /** The built-in models `fake-gpt` and `fake-embedding` are served: embedded database and no config file. */
  readonly fakeModels: boolean;
  /** How connections to providers are made. */
  readonly outbound: OutboundSettings;
  /** What the instances of a region share; null: each counts for itself. */
  readonly redis: RedisSettings | null;
  /** `LITELLM_RATE_LIMIT_WINDOW_SIZE`: seconds of the window of rpm and tpm limits. */
  readonly rateLimitWindowSeconds: number;
}

export interface RedisSettings {
  /** Null: `host` and `port`. */
  readonly url: string | null;
  readonly host: string;
  readonly port: number;
  readonly username: string | null;
  readonly password: string | null;
  /** Number of the database; null: 0, or the one in the URL. */
  readonly database: number | null;
  readonly tls: boolean;
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
