import { resolve } from 'node:path';
import { EMPTY_CONFIG_SOURCE } from '../domain/config-source.ts';
import type { JsonObject } from '../domain/virtual-key.ts';
import { type LoadedConfig, loadConfigFile } from './config-yaml.ts';
import { readDotEnv } from './dot-env.ts';
import type { Environment } from './environment-references.ts';
import { readText } from './read-variable.ts';
import { SettingsError } from './settings-error.ts';

export interface SourcesInput {
  readonly flags: { readonly config?: string | undefined };
  readonly env: Environment;
  readonly cwd: string;
}

export interface Sources {
  /** Absolute, or null. */
  readonly configFilePath: string | null;
  readonly config: Pick<LoadedConfig, 'source' | 'warnings'>;
  /** The environment with `.env` below it and the file's `environment_variables` above it. */
  readonly env: Environment;
}

/** Reads everything that settings are decided from, and decides nothing. */
export function readSources({ flags, env: given, cwd }: SourcesInput): Sources {
  const env = isProduction(given) ? given : { ...readDotEnv(resolve(cwd, '.env'), given), ...given };
  const path = flags.config?.trim() || readText(env, 'CONFIG_FILE_PATH');
  const configFilePath = path === null ? null : resolve(cwd, path);
  const config =
    configFilePath === null ? { source: EMPTY_CONFIG_SOURCE, warnings: [] } : loadConfigFile(configFilePath, env);
  return { configFilePath, config, env: { ...env, ...config.source.environmentVariables } };
}

export function isProduction(env: Environment): boolean {
  return readText(env, 'LITELLM_MODE')?.toUpperCase() === 'PRODUCTION';
}

/** Both null: the embedded database. */
export function databaseUrls(
  env: Environment,
  generalSettings: JsonObject,
): {
  readonly databaseUrl: string | null;
  readonly directUrl: string | null;
  readonly readReplicaUrl: string | null;
} {
  const databaseUrl = postgresUrl(
    'DATABASE_URL',
    readText(env, 'DATABASE_URL') ?? textOf(generalSettings['database_url']),
  );
  // Starting an empty database of our own would look like the loss of the one that was meant.
  if (databaseUrl === null && readText(env, 'DATABASE_HOST') !== null) {
    throw new SettingsError(
      'DATABASE_HOST is set but DATABASE_URL is not, and only DATABASE_URL is read. Set DATABASE_URL=postgresql://user:password@host:5432/name, or remove DATABASE_HOST to use the embedded database.',
    );
  }
  return {
    databaseUrl,
    directUrl: postgresUrl('DIRECT_URL', readText(env, 'DIRECT_URL')),
    readReplicaUrl: postgresUrl('DATABASE_URL_READ_REPLICA', readText(env, 'DATABASE_URL_READ_REPLICA')),
  };
}

export function textOf(value: unknown): string | null {
  const text = typeof value === 'string' ? value.trim() : '';
  return text === '' ? null : text;
}

/** The message must not show the URL: it holds a password. */
function postgresUrl(name: string, url: string | null): string | null {
  if (url === null || /^postgres(ql)?:\/\/./i.test(url)) return url;
  throw new SettingsError(
    `${name} is not the URL of a PostgreSQL database. It must look like postgresql://user:password@host:5432/name.`,
  );
}
