import type { JsonObject } from '../domain/virtual-key.ts';
import type { Environment } from './environment-references.ts';
import { textOf } from './read-sources.ts';
import { parseInteger, readFlag, readText } from './read-variable.ts';
import type { RedisSettings } from './settings.ts';
import { SettingsError } from './settings-error.ts';

const PORT_DEFAULT = 6379;
const DATABASE_MAX = 65_535;

/** `REDIS_URL`, else `REDIS_HOST` and what belongs to it, else the same of `router_settings`; null when neither names a server. */
export function redisSettings(
  env: Environment,
  routerSettings: JsonObject,
): { readonly redis: RedisSettings | null; readonly warning: string | null } {
  const url = readText(env, 'REDIS_URL') ?? textOf(routerSettings['redis_url']);
  const host = readText(env, 'REDIS_HOST') ?? textOf(routerSettings['redis_host']);
  const { value: tls, warning } = readFlag(env, 'REDIS_SSL');
  if (url === null && host === null) return { redis: null, warning };
  if (url !== null && !(URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol))) {
    throw new SettingsError(
      'REDIS_URL must be an address that begins with redis:// or rediss://, for example redis://localhost:6379.',
    );
  }
  const port = readText(env, 'REDIS_PORT') ?? numberOrText(routerSettings['redis_port']) ?? PORT_DEFAULT;
  const database = numberOrText(routerSettings['redis_db']);
  return {
    redis: {
      url,
      host: host ?? 'localhost',
      port: parseInteger(port, 'The port of Redis (REDIS_PORT)', 1, 65_535),
      username: readText(env, 'REDIS_USERNAME'),
      password: readText(env, 'REDIS_PASSWORD') ?? textOf(routerSettings['redis_password']),
      database: database === null ? null : parseInteger(database, 'router_settings.redis_db', 0, DATABASE_MAX),
      tls,
    },
    warning,
  };
}

function numberOrText(value: unknown): number | string | null {
  return typeof value === 'number' || typeof value === 'string' ? value : null;
}
