import { resolve } from 'node:path';
import { addDuration, parseDuration } from '../domain/duration.ts';
import type { Environment } from './environment-references.ts';
import { KNOWN_VARIABLES } from './known/environment.ts';
import { corsSettings, outboundSettings, rootPath, trustedProxies } from './network-settings.ts';
import { databaseUrls, isProduction, readSources, textOf } from './read-sources.ts';
import { parseInteger, readFlag, readText } from './read-variable.ts';
import { redisSettings } from './redis-settings.ts';
import { resolveSecrets, secretsOfJoined } from './secrets.ts';
import type { Settings } from './settings.ts';
import { SettingsError } from './settings-error.ts';
import { checkTlsFiles } from './tls-files.ts';

/** What the command line says; undefined = not given. */
export interface ServeFlags {
  readonly config?: string | undefined;
  readonly port?: string | number | undefined;
  readonly host?: string | undefined;
  readonly numWorkers?: string | number | undefined;
  readonly prometheusMetricsPort?: string | number | undefined;
  readonly sslKeyfilePath?: string | undefined;
  readonly sslCertfilePath?: string | undefined;
  /** `--debug` or `--detailed_debug`. */
  readonly debug?: boolean | undefined;
}

export interface ResolveInput {
  readonly flags: ServeFlags;
  readonly env: Environment;
  /** Relative paths and `.env` start here. */
  readonly cwd: string;
  /** Only look: keys that are missing are not written to the data directory. */
  readonly dryRun?: boolean;
}

export interface ResolvedSettings {
  readonly settings: Settings;
  /** Sentences for the operator, without secrets. */
  readonly warnings: readonly string[];
  /**
   * The environment with `.env` and the file's `environment_variables`: what child processes get, so that
   * `os.environ/NAME` and the key variables of providers mean the same there.
   */
  readonly env: Environment;
}

const MEBIBYTE = 1024 * 1024;
export const BODY_BYTES_MAX_DEFAULT = 32 * MEBIBYTE;
export const RESPONSE_HELD_BYTES_MAX = 8 * MEBIBYTE;
export const NUM_WORKERS_MAX = 256;
const DRAIN_SECONDS_DEFAULT = 900;
const DRAIN_SECONDS_MAX = 86_400;
const DRAIN_NOTICE_SECONDS_DEFAULT = 5;
const DRAIN_NOTICE_SECONDS_MAX = 600;
const POOL_LIMIT_DEFAULT = 10;
const POOL_LIMIT_MAX = 1_000;
const RATE_LIMIT_WINDOW_SECONDS_DEFAULT = 60;
const RATE_LIMIT_WINDOW_SECONDS_MAX = 3_600;

/**
 * Decides everything that shapes the instance: flag, then environment (with `.env`), then `config.yaml`, then default. Makes missing
 * keys when the database is embedded; throws `SettingsError` for what can not be started with.
 */
export function resolveSettings({ flags, env: given, cwd, dryRun = false }: ResolveInput): ResolvedSettings {
  const { config, configFilePath, env } = readSources({ flags, env: given, cwd });
  const { generalSettings, litellmSettings, routerSettings } = config.source;
  const warnings = [...config.warnings];
  const flag = (name: string): boolean => {
    const { value, warning } = readFlag(env, name);
    if (warning !== null) warnings.push(warning);
    return value;
  };

  const controlPlaneUrls = controlPlaneUrlsOf(readText(env, 'CONTROL_PLANE_URL'), warnings);
  const isJoined = controlPlaneUrls.length > 0;
  const roleFlags = {
    disableLlmApiEndpoints: flag('DISABLE_LLM_API_ENDPOINTS'),
    // Who joined an admin is a worker.
    disableAdminEndpoints: flag('DISABLE_ADMIN_ENDPOINTS') || isJoined,
    disableAdminUi: flag('DISABLE_ADMIN_UI') || isJoined,
  };
  if (roleFlags.disableLlmApiEndpoints && roleFlags.disableAdminEndpoints) {
    warnings.push(
      'DISABLE_LLM_API_ENDPOINTS and DISABLE_ADMIN_ENDPOINTS are both true: this instance serves health and metrics only.',
    );
  }

  const { databaseUrl, directUrl, readReplicaUrl } = databaseUrls(env, generalSettings);
  if (isJoined && databaseUrl !== null) {
    throw new SettingsError(
      'DATABASE_URL and CONTROL_PLANE_URL are both set. A worker that joined an admin has no credential of the database: unset ' +
        'DATABASE_URL to join, or CONTROL_PLANE_URL to use the database.',
    );
  }
  if (databaseUrl === null && readReplicaUrl !== null) {
    warnings.push(
      'DATABASE_URL_READ_REPLICA has no effect without DATABASE_URL: the embedded database has no replica.',
    );
  }
  const dataDir = resolve(cwd, readText(env, 'CLAVIGER_DATA_DIR') ?? '.claviger');
  const resolveKeys = isJoined ? secretsOfJoined : resolveSecrets;
  const secrets = resolveKeys({
    masterKey: readText(env, 'LITELLM_MASTER_KEY') ?? textOf(generalSettings['master_key']),
    saltKey: readText(env, 'LITELLM_SALT_KEY'),
    dataDir,
    embeddedDatabase: databaseUrl === null,
    keep: !dryRun,
  });
  const cors = corsSettings(readText(env, 'LITELLM_CORS_ORIGINS'), flag('LITELLM_CORS_ALLOW_CREDENTIALS'));
  const { outbound, warnings: outboundWarnings } = outboundSettings(env, litellmSettings, cwd);
  const { redis, warning: redisWarning } = redisSettings(env, routerSettings);
  const oneWarning = [cors.warning, redisWarning].filter((warning) => warning !== null);
  warnings.push(...secrets.warnings, ...oneWarning, ...outboundWarnings);

  const level = logLevel(flags.debug === true || litellmSettings['set_verbose'] === true, env, warnings);
  warnAboutVariables(env, warnings);
  // Instances with a role are several, and something distributes the calls among them.
  const hasBalancer = roleFlags.disableLlmApiEndpoints || roleFlags.disableAdminEndpoints;
  const settings: Settings = {
    role: roleOf(roleFlags, isJoined),
    flags: roleFlags,
    host: hostName(flags.host ?? readText(env, 'HOST') ?? '0.0.0.0'),
    port: parseInteger(flags.port ?? readText(env, 'PORT') ?? 4000, 'The port (--port, PORT)', 0, 65_535),
    metricsPort: metricsPort(flags.prometheusMetricsPort ?? readText(env, 'PROMETHEUS_METRICS_PORT')),
    numWorkers: parseInteger(
      flags.numWorkers ?? readText(env, 'NUM_WORKERS') ?? 1,
      'The number of gateway processes (--num_workers, NUM_WORKERS)',
      1,
      NUM_WORKERS_MAX,
    ),
    dataDir,
    region: regionName(readText(env, 'CLAVIGER_REGION') ?? 'default'),
    configFilePath,
    databaseUrl,
    directUrl,
    databaseConnectionPoolLimit: parseInteger(
      (generalSettings['database_connection_pool_limit'] as number | undefined) ?? POOL_LIMIT_DEFAULT,
      'general_settings.database_connection_pool_limit',
      1,
      POOL_LIMIT_MAX,
    ),
    readReplicaUrl: databaseUrl === null ? null : readReplicaUrl,
    storeModelInDb: storeModelInDb(env, generalSettings, warnings),
    controlPlaneUrls,
    joinToken: readText(env, 'CLAVIGER_JOIN_TOKEN'),
    snapshotMirror: readText(env, 'CLAVIGER_SNAPSHOT_MIRROR'),
    modelCostMap: flag('LITELLM_LOCAL_MODEL_COST_MAP')
      ? null
      : modelCostMap(readText(env, 'LITELLM_MODEL_COST_MAP_URL'), cwd),
    fenceMs: fenceMs(readText(env, 'CLAVIGER_FENCE')),
    publicUrl: publicUrl(readText(env, 'PROXY_BASE_URL')),
    disableSchemaUpdate: flag('DISABLE_SCHEMA_UPDATE') || generalSettings['disable_prisma_schema_update'] === true,
    masterKey: secrets.masterKey,
    sealingKey: secrets.sealingKey,
    sealingKeySource: secrets.sealingKeySource,
    serverRootPath: rootPath(readText(env, 'SERVER_ROOT_PATH')),
    corsOrigins: cors.origins,
    corsAllowCredentials: cors.credentials,
    tls: checkTlsFiles(
      flags.sslCertfilePath ?? readText(env, 'SSL_CERTFILE_PATH'),
      flags.sslKeyfilePath ?? readText(env, 'SSL_KEYFILE_PATH'),
      cwd,
    ),
    trustedProxies: trustedProxies(readText(env, 'CLAVIGER_TRUSTED_PROXIES')),
    log: {
      level,
      json: readText(env, 'JSON_LOGS') === null ? litellmSettings['json_logs'] === true : flag('JSON_LOGS'),
    },
    drainTimeoutMs:
      1_000 *
      parseInteger(
        readText(env, 'CLAVIGER_DRAIN_TIMEOUT') ?? DRAIN_SECONDS_DEFAULT,
        'CLAVIGER_DRAIN_TIMEOUT',
        0,
        DRAIN_SECONDS_MAX,
      ),
    drainNoticeMs:
      1_000 *
      parseInteger(
        readText(env, 'CLAVIGER_DRAIN_NOTICE') ?? (hasBalancer ? DRAIN_NOTICE_SECONDS_DEFAULT : 0),
        'CLAVIGER_DRAIN_NOTICE',
        0,
        DRAIN_NOTICE_SECONDS_MAX,
      ),
    production: isProduction(env),
    bodyBytesMax: bodyBytesMax(generalSettings['max_request_size_mb']),
    responseHeldBytesMax: RESPONSE_HELD_BYTES_MAX,
    fakeModels: databaseUrl === null && configFilePath === null && !isJoined,
    outbound,
    redis,
    rateLimitWindowSeconds: parseInteger(
      readText(env, 'LITELLM_RATE_LIMIT_WINDOW_SIZE') ?? RATE_LIMIT_WINDOW_SECONDS_DEFAULT,
      'LITELLM_RATE_LIMIT_WINDOW_SIZE',
      1,
      RATE_LIMIT_WINDOW_SECONDS_MAX,
    ),
  };
  return { settings, warnings, env };
}

function metricsPort(text: string | number | null): number | null {
  if (text === null) return null;
  return parseInteger(text, 'The port for metrics (--prometheus_metrics_port, PROMETHEUS_METRICS_PORT)', 1, 65_535);
}

function hostName(text: string): string {
  const host = text.trim().replace(/^\[(.*)\]$/, '$1');
  if (/^[A-Za-z0-9.:%_-]+$/.test(host)) return host;
  throw new SettingsError(
    'The host (--host, HOST) must be an address or a name to listen on, for example 127.0.0.1 or ::.',
  );
}

/** On unless it is set to false: what is fleet-wide lives in the database. */
function storeModelInDb(
  env: Environment,
  generalSettings: Readonly<Record<string, unknown>>,
  warnings: string[],
): boolean {
  if (readText(env, 'STORE_MODEL_IN_DB') === null) return generalSettings['store_model_in_db'] !== false;
  const { value, warning } = readFlag(env, 'STORE_MODEL_IN_DB');
  if (warning !== null) warnings.push(warning);
  return value;
}

function roleOf(
  { disableAdminEndpoints, disableLlmApiEndpoints }: Settings['flags'],
  isJoined: boolean,
): Settings['role'] {
  if (isJoined) return 'worker';
  return disableLlmApiEndpoints ? 'admin' : disableAdminEndpoints ? 'worker' : 'standalone';
}

function controlPlaneUrlsOf(text: string | null, warnings: string[]): string[] {
  const urls = (text ?? '')
    .split(',')
    .map((part) => part.trim().replace(/\/+$/, ''))
    .filter((part) => part !== '');
  for (const url of urls) if (!isHttpUrl(url)) throw new SettingsError(urlSentence('CONTROL_PLANE_URL'));
  if (urls.some((url) => /^http:/i.test(url) && !LOOPBACK.test(new URL(url).hostname))) {
    warnings.push(
      'CONTROL_PLANE_URL begins with http://: everybody on the way to the admin can read what this worker gets, the key that opens its secrets included. Use https://.',
    );
  }
  return urls;
}

function publicUrl(text: string | null): string | null {
  if (text === null) return null;
  if (!isHttpUrl(text)) throw new SettingsError(urlSentence('PROXY_BASE_URL'));
  return text.replace(/\/+$/, '');
}

/** An address, or a path from where the instance is started. */
function modelCostMap(text: string | null, cwd: string): string | null {
  if (text === null || isHttpUrl(text)) return text;
  const path = text.replace(/^file:\/\//, '');
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) return resolve(cwd, path);
  throw new SettingsError(
    'LITELLM_MODEL_COST_MAP_URL must be an address that begins with https:// or http://, or the path of a file.',
  );
}

function urlSentence(name: string): string {
  return `${name} must be an address that begins with https:// or http://, for example https://admin.example.com.`;
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

const FENCE_MIN_MS = 1_000;

/** Null: each class of keys has its own. */
function fenceMs(text: string | null): number | null {
  if (text === null) return null;
  const parsed = parseDuration(/^\d+$/.test(text) ? `${text}s` : text);
  const milliseconds = parsed.ok && parsed.duration.unit !== 'mo' ? addDuration(0, parsed.duration) : 0;
  if (milliseconds < FENCE_MIN_MS) {
    throw new SettingsError('CLAVIGER_FENCE must be a duration of at least one second, for example 60s, 5m or 24h.');
  }
  return milliseconds;
}

/** It becomes a label of metrics and a response header. */
function regionName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text)) return text;
  throw new SettingsError(
    'CLAVIGER_REGION must be 1 to 63 letters, digits, dots, dashes and underscores, for example eu-west-1.',
  );
}

function bodyBytesMax(mebibytes: unknown): number {
  if (typeof mebibytes !== 'number') return BODY_BYTES_MAX_DEFAULT;
  if (mebibytes > 0 && mebibytes <= 1_024) return Math.ceil(mebibytes * MEBIBYTE);
  throw new SettingsError('general_settings.max_request_size_mb must be more than 0 and at most 1024.');
}

function logLevel(debug: boolean, env: Environment, warnings: string[]): Settings['log']['level'] {
  const written = readText(env, 'LITELLM_LOG');
  if (debug) return 'debug';
  if (written === null) return 'info';
  const level = LOG_LEVELS.get(written.toUpperCase());
  if (level === undefined) warnings.push('LITELLM_LOG is none of DEBUG, INFO, WARNING and ERROR; INFO is used.');
  return level ?? 'info';
}

const LOG_LEVELS: ReadonlyMap<string, Settings['log']['level']> = new Map([
  ['DEBUG', 'debug'],
  ['INFO', 'info'],
  ['WARNING', 'warn'],
  ['WARN', 'warn'],
  ['ERROR', 'error'],
  ['CRITICAL', 'error'],
]);

function warnAboutVariables(env: Environment, warnings: string[]): void {
  if (readText(env, 'LITELLM_LICENSE') !== null) {
    warnings.push('LITELLM_LICENSE is ignored: nothing in Claviger needs a licence.');
  }
  const ignored = KNOWN_VARIABLES.filter(({ name, acted }) => !acted && readText(env, name) !== null);
  if (ignored.length === 0) return;
  warnings.push(
    `These environment variables are known but have no effect in this version: ${ignored.map(({ name }) => name).join(', ')}. See docs/reference/config.md.`,
  );
}
