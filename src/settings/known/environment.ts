/** One environment variable. `docs/reference/config.md` is made from this table. */
export interface KnownVariable {
  readonly name: string;
  /** Empty: none. */
  readonly default: string;
  /** False: known from LiteLLM, without an effect in this version. */
  readonly acted: boolean;
  readonly meaning: string;
}

const acted = (name: string, standard: string, meaning: string): KnownVariable => ({
  name,
  default: standard,
  acted: true,
  meaning,
});

const later = (names: string, meaning: string): KnownVariable[] =>
  names
    .split(/\s+/)
    .filter((name) => name !== '')
    .map((name) => ({ name, default: '', acted: false, meaning }));

export const KNOWN_VARIABLES: readonly KnownVariable[] = [
  acted('CONFIG_FILE_PATH', '', 'Path of `config.yaml`; also `--config`.'),
  acted('PORT', '4000', 'Public port; also `--port`.'),
  acted('HOST', '0.0.0.0', 'Address to listen on, `::` for IPv6 and IPv4; also `--host`.'),
  acted(
    'PROMETHEUS_METRICS_PORT',
    '',
    'Another port, where metrics are served without a key; also `--prometheus_metrics_port`.',
  ),
  acted(
    'CLAVIGER_URL',
    'http://localhost:4000',
    'Instance that commands such as `claviger models apply` call; also `--url`.',
  ),
  acted('NUM_WORKERS', '1', 'Gateway processes; also `--num_workers`.'),
  acted('DATABASE_URL', '', 'PostgreSQL; without it Claviger starts its own in the data directory.'),
  acted('DIRECT_URL', '', 'The same database without a pooler between, when there is one.'),
  acted(
    'LITELLM_MASTER_KEY',
    '',
    'The key that may do everything. Made and kept in the data directory with the embedded database.',
  ),
  acted(
    'LITELLM_SALT_KEY',
    '',
    'Key for secrets in the database. Made and kept in the data directory with the embedded database; else the master key.',
  ),
  acted('CLAVIGER_DATA_DIR', '.claviger', 'Directory for everything that is kept on disk.'),
  acted('XDG_RUNTIME_DIR', '/tmp', 'Where the directory of the unix sockets is made.'),
  acted('CLAVIGER_REGION', 'default', 'Name of the region of this instance.'),
  acted(
    'LITELLM_MODEL_COST_MAP_URL',
    '',
    "Address or path of a price list in LiteLLM's JSON form; its prices replace those of the release. Kept in the data directory.",
  ),
  acted('LITELLM_LOCAL_MODEL_COST_MAP', 'false', 'True: no list but the one of the release.'),
  acted('DISABLE_LLM_API_ENDPOINTS', 'false', 'True: LLM routes answer 403; the instance is an admin.'),
  acted('DISABLE_ADMIN_ENDPOINTS', 'false', 'True: all management routes answer 403; the instance is a worker.'),
  acted('DISABLE_ADMIN_UI', 'false', 'True: the console is off.'),
  acted('SSL_CERTFILE_PATH', '', 'PEM file with the certificate of the public port; also `--ssl_certfile_path`.'),
  acted('SSL_KEYFILE_PATH', '', 'PEM file with its key; also `--ssl_keyfile_path`.'),
  acted('SERVER_ROOT_PATH', '', 'Prefix of every route, for example `/llm`.'),
  acted('LITELLM_CORS_ORIGINS', '*', 'Allowed origins, separated by commas.'),
  acted('LITELLM_CORS_ALLOW_CREDENTIALS', 'false', 'True: browsers may send credentials; not with the origin `*`.'),
  acted(
    'CLAVIGER_TRUSTED_PROXIES',
    '',
    'Addresses and ranges, separated by commas, whose `x-forwarded-*` headers are believed.',
  ),
  acted('LITELLM_LOG', 'INFO', '`DEBUG`, `INFO`, `WARNING` or `ERROR`.'),
  acted('JSON_LOGS', 'false', 'True: JSON lines in the log; also `litellm_settings.json_logs`.'),
  acted('LITELLM_MODE', 'DEV', '`PRODUCTION`: the file `.env` is not read.'),
  acted('DISABLE_SCHEMA_UPDATE', 'false', 'True: the database schema is not migrated at start.'),
  acted('CLAVIGER_DRAIN_TIMEOUT', '900', 'Seconds that open requests get to finish when the instance stops.'),
  acted(
    'CLAVIGER_DRAIN_NOTICE',
    '5 on workers and admins, else 0',
    'Seconds from SIGTERM on during which calls are still taken while readiness is off, so that balancers see it.',
  ),
  acted('HTTPS_PROXY', '', 'Proxy for connections to `https:` providers; lower case works too.'),
  acted('HTTP_PROXY', '', 'Proxy for connections to `http:` providers; lower case works too.'),
  acted('ALL_PROXY', '', 'Proxy for both, when theirs is not set; lower case works too.'),
  acted(
    'NO_PROXY',
    '',
    'Hosts, `.suffix`es or `*`, separated by commas, that are connected to directly; lower case works too.',
  ),
  acted(
    'SSL_CERT_FILE',
    '',
    'PEM file with authorities that are accepted for providers in addition to the built-in ones.',
  ),
  acted('SSL_VERIFY', 'true', 'False: certificates of providers are not checked; a path: as `SSL_CERT_FILE`.'),
  acted('LITELLM_LICENSE', '', 'Ignored: nothing here needs a licence.'),
  acted('DATABASE_HOST', '', 'Not supported: with it and without `DATABASE_URL` Claviger does not start.'),
  acted('DATABASE_URL_READ_REPLICA', '', 'A replica of the database, for reads that may be a little old.'),
  acted('STORE_MODEL_IN_DB', 'true', 'False: models of the database are neither served nor managed.'),
  acted(
    'CONTROL_PLANE_URL',
    '',
    'Addresses of admins, separated by commas: this worker joins them and has no credential of the database.',
  ),
  acted('CLAVIGER_JOIN_TOKEN', '', 'Single-use token with which a worker joins; needed at its first start only.'),
  acted(
    'CLAVIGER_SNAPSHOT_MIRROR',
    '',
    'Directory or URL with snapshots that any worker has written, for a start without database and admin.',
  ),
  acted(
    'CLAVIGER_FENCE',
    '',
    'Age of knowledge at which keys are no longer admitted, for all of them; otherwise 24 hours, and 60 seconds for keys with `fence: strict`.',
  ),
  acted(
    'REDIS_URL',
    '',
    'Redis or Valkey that the instances of this region share, `redis://` or `rediss://`: rate limits then hold over all of them.',
  ),
  acted('REDIS_HOST', '', 'The same, when `REDIS_URL` is not set.'),
  acted('REDIS_PORT', '6379', 'Port of `REDIS_HOST`.'),
  acted('REDIS_USERNAME', '', 'User of Redis.'),
  acted('REDIS_PASSWORD', '', 'Password of Redis.'),
  acted('REDIS_SSL', 'false', 'True: `REDIS_HOST` is connected to with TLS.'),
  acted('LITELLM_RATE_LIMIT_WINDOW_SIZE', '60', 'Seconds of the window in which rpm and tpm limits count.'),
  acted('PROXY_BASE_URL', '', 'Where clients reach this instance; shown in the fleet view.'),
  ...later('DATABASE_HOST_READ_REPLICA IAM_TOKEN_DB_AUTH', 'Database.'),
  ...later(
    'DATABASE_PORT DATABASE_NAME DATABASE_USER DATABASE_USERNAME DATABASE_PASSWORD DATABASE_SCHEMA',
    'Set `DATABASE_URL` instead.',
  ),
  ...later(
    'LITELLM_CONFIG_BUCKET_NAME LITELLM_CONFIG_BUCKET_OBJECT_KEY LITELLM_CONFIG_BUCKET_TYPE',
    'Configuration in a bucket.',
  ),
  ...later('LITELLM_UI_API_DOC_BASE_URL PROXY_LOGOUT_URL LITELLM_HOSTED_UI LITELLM_UI_PATH', 'Console.'),
  ...later('LITELLM_ASSETS_PATH UI_USERNAME UI_PASSWORD LITELLM_UI_SESSION_DURATION', 'Console.'),
  ...later(
    'LITELLM_HIDE_DEFAULT_CREDENTIALS_HINT AUTO_REDIRECT_UI_LOGIN_TO_SSO LITELLM_DISABLE_LOGIN_RATE_LIMIT',
    'Console.',
  ),
  ...later('LITELLM_ENABLE_HSTS', 'Security header.'),
  ...later('NO_DOCS NO_REDOC NO_OPENAPI DOCS_URL REDOC_URL OPENAPI_URL ROOT_REDIRECT_URL', 'API documentation pages.'),
  ...later('DOCS_TITLE DOCS_DESCRIPTION DOCS_FILTERED', 'API documentation pages.'),
  ...later(
    'ENFORCE_PRISMA_MIGRATION_CHECK DISABLE_PRISMA_HEALTH_CHECK_ON_STARTUP',
    'A failed migration always stops the start.',
  ),
  ...later('PROXY_CONFIG_RELOAD_INTERVAL_SECONDS', 'Changes arrive at once.'),
  ...later('SEPARATE_HEALTH_APP SEPARATE_HEALTH_PORT PROMETHEUS_MULTIPROC_DIR', 'Separate ports.'),
  ...later('PROMETHEUS_URL PROMETHEUS_BUDGET_METRICS_REFRESH_INTERVAL_MINUTES', 'Metrics.'),
  ...later(
    `REDIS_CLUSTER_NODES REDIS_SENTINEL_NODES REDIS_SERVICE_NAME REDIS_SOCKET_TIMEOUT REDIS_CONNECTION_POOL_TIMEOUT REDIS_CIRCUIT_BREAKER_FAILURE_THRESHOLD
    REDIS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT REDIS_GCP_SERVICE_ACCOUNT REDIS_GCP_SSL_CA_CERTS DEFAULT_REDIS_SYNC_INTERVAL`,
    'Redis.',
  ),
  ...later(
    `PROXY_BATCH_WRITE_AT PROXY_BUDGET_RESCHEDULER_MIN_TIME PROXY_BUDGET_RESCHEDULER_MAX_TIME MAX_SIZE_IN_MEMORY_QUEUE
    SPEND_LOG_CLEANUP_BATCH_SIZE SPEND_LOG_RUN_LOOPS MAX_STRING_LENGTH_PROMPT_IN_DB DEFAULT_SOFT_BUDGET`,
    'Spend.',
  ),
  ...later('MAX_REQUESTS_BEFORE_RESTART KEEPALIVE_TIMEOUT LITELLM_LOG_FILE LITELLM_DISABLE_REDACT_SECRETS', 'Server.'),
  ...later('LITELLM_NON_ROOT LITELLM_MIGRATION_DIR LITELLM_WORKER_STARTUP_HOOKS', 'Server.'),
  ...later('LENGTH_OF_LITELLM_GENERATED_KEY', 'The form of generated keys is fixed.'),
  ...later('LITELLM_STORE_AUDIT_LOGS', 'The audit log is always on.'),
  ...later('LITELLM_DROP_PARAMS LITELLM_ENVIRONMENT', 'Models.'),
  ...later('LITELLM_MAX_STREAMING_DURATION_SECONDS MAX_TEAM_LIST_LIMIT', 'Limits.'),
  ...later(
    `GOOGLE_CLIENT_ID GOOGLE_CLIENT_SECRET MICROSOFT_CLIENT_ID MICROSOFT_CLIENT_SECRET MICROSOFT_TENANT GENERIC_CLIENT_ID
    GENERIC_CLIENT_SECRET GENERIC_AUTHORIZATION_ENDPOINT GENERIC_TOKEN_ENDPOINT GENERIC_USERINFO_ENDPOINT GENERIC_SCOPE
    ALLOWED_EMAIL_DOMAINS PROXY_ADMIN_ID`,
    'Sign-in with an identity provider.',
  ),
  ...later('SMTP_HOST SMTP_PORT SMTP_USERNAME SMTP_PASSWORD SMTP_SENDER_EMAIL SMTP_TLS RESEND_API_KEY', 'Mail.'),
  ...later('SENDGRID_API_KEY EMAIL_LOGO_URL EMAIL_SUPPORT_CONTACT EMAIL_SIGNATURE', 'Mail.'),
  ...later('SLACK_WEBHOOK_URL WEBHOOK_URL PAGERDUTY_API_KEY', 'Alerts.'),
];
