import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ConfigSource } from '../domain/config-source.ts';
import type { JsonValue } from '../domain/virtual-key.ts';
import { createFileAtomicSync } from '../util/atomic-file.ts';
import type { Settings } from './settings.ts';
import { SettingsError } from './settings-error.ts';

export interface Secrets {
  readonly masterKey: string;
  readonly sealingKey: string;
  readonly sealingKeySource: 'salt' | 'master';
  readonly warnings: readonly string[];
}

export interface SecretsInput {
  /** As configured, or null. */
  readonly masterKey: string | null;
  readonly saltKey: string | null;
  /** Absolute. */
  readonly dataDir: string;
  readonly embeddedDatabase: boolean;
  /** False: a key that would be made is made in memory only. */
  readonly keep: boolean;
}

export const MASTER_KEY_FILE = 'master-key';
export const SALT_KEY_FILE = 'salt-key';

/**
 * Master and sealing key. With the embedded database, keys that are not set are made once and kept in the data directory:
 * they live as long as the database beside them. A shared database needs the same keys on all its instances, so none is made.
 */
export function resolveSecrets({ masterKey, saltKey, dataDir, embeddedDatabase, keep }: SecretsInput): Secrets {
  const warnings: string[] = [];
  if (masterKey !== null && !masterKey.startsWith('sk-')) {
    warnings.push('LITELLM_MASTER_KEY does not begin with sk-; LiteLLM clients and scripts expect that it does.');
  }
  if (embeddedDatabase) {
    const master = masterKey ?? keptKey(dataDir, MASTER_KEY_FILE, keep);
    const salt = saltKey ?? keptKey(dataDir, SALT_KEY_FILE, keep);
    if (saltKey !== null) warnIfOther(saltKey, dataDir, warnings);
    return { masterKey: master, sealingKey: salt, sealingKeySource: 'salt', warnings };
  }
  if (masterKey === null) {
    throw new SettingsError(
      'LITELLM_MASTER_KEY is not set. With DATABASE_URL it must be set, to the same value on every instance that shares the database, for example LITELLM_MASTER_KEY=sk-<at least 32 random characters>.',
    );
  }
  if (saltKey !== null) return { masterKey, sealingKey: saltKey, sealingKeySource: 'salt', warnings };
  warnings.push(
    'LITELLM_SALT_KEY is not set, so secrets in the database are sealed with the master key, and changing the master key would make them unreadable. Set LITELLM_SALT_KEY, to the same value on every instance, before secrets are stored.',
  );
  return { masterKey, sealingKey: masterKey, sealingKeySource: 'master', warnings };
}

/** A worker that joined an admin has neither key: it does not know the master key, and its sealing key comes with its identity. */
export function secretsOfJoined({ masterKey, saltKey }: Pick<SecretsInput, 'masterKey' | 'saltKey'>): Secrets {
  const set = [
    ...(masterKey === null ? [] : ['LITELLM_MASTER_KEY']),
    ...(saltKey === null ? [] : ['LITELLM_SALT_KEY']),
  ];
  const warnings = set.map(
    (name) =>
      `${name} has no effect on a worker with CONTROL_PLANE_URL. Unset it: such a worker needs no secret of the installation, and should hold none.`,
  );
  return { masterKey: '', sealingKey: '', sealingKeySource: 'salt', warnings };
}

/** What the log has to hide from the beginning. */
export function secretsOfSettings(settings: Settings): string[] {
  const urls = [
    settings.databaseUrl,
    settings.directUrl,
    settings.readReplicaUrl,
    settings.outbound.httpsProxy,
    settings.outbound.httpProxy,
    settings.modelCostMap,
    settings.redis?.url ?? null,
  ];
  const own = [
    settings.masterKey,
    settings.sealingKey,
    settings.joinToken ?? '',
    settings.redis?.password ?? '',
    ...queryValuesOf(settings.modelCostMap),
  ].filter((secret) => secret !== '');
  return [...own, ...urls.flatMap(passwordsOf)];
}

/** Of a signed address each value may be the signature. */
function queryValuesOf(url: string | null): string[] {
  return url === null || !URL.canParse(url) ? [] : [...new URL(url).searchParams.values()];
}

/** The values of `config.yaml` whose key says that they are secret. */
export function secretsOfSource(source: ConfigSource): string[] {
  const found = new Set<string>();
  const visit = (value: JsonValue, secret: boolean): void => {
    if (typeof value === 'string') {
      if (secret && value !== '') found.add(value);
      for (const password of passwordsOf(value)) found.add(password);
    } else if (Array.isArray(value)) {
      for (const item of value) visit(item, secret);
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) visit(item, secret || SECRET_NAME.test(key));
    }
  };
  for (const model of source.models) visit(model.litellmParams, false);
  visit(source.litellmSettings, false);
  visit(source.generalSettings, false);
  visit(source.routerSettings, false);
  visit(source.environmentVariables, false);
  return [...found];
}

const SECRET_NAME =
  /(^|_)(api_?key|secret|password|passwd|token|credentials?|master_key|salt_key|access_key(_id)?|authorization)$/i;

/** The password of a URL, as written and decoded. */
function passwordsOf(url: string | null): string[] {
  if (url === null || !url.includes('://')) return [];
  const password = URL.canParse(url) ? new URL(url).password : (/:\/\/[^:@/]*:(.*)@/.exec(url)?.[1] ?? '');
  if (password === '') return [];
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
}

/** `sk-` and 32 base64url characters: 192 random bits. */
function generateKey(): string {
  return `sk-${randomBytes(24).toString('base64url')}`;
}

function keptKey(dataDir: string, name: string, keep: boolean): string {
  const path = join(dataDir, name);
  const kept = readKeptKey(path);
  if (kept !== null) return kept;
  const key = generateKey();
  if (!keep) return key;
  try {
    // The directories above get the usual mode: the account of the embedded PostgreSQL may have to walk through them.
    mkdirSync(dirname(dataDir), { recursive: true });
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    createFileAtomicSync(path, `${key}\n`, 0o600);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Another process that was started at the same moment was faster; its key is the key.
    if (code === 'EEXIST') return readKeptKey(path) ?? key;
    throw new SettingsError(
      `The data directory ${dataDir} can not be written (${code}). Make it writable for this account, or set CLAVIGER_DATA_DIR to another directory.`,
    );
  }
  return key;
}

function readKeptKey(path: string): string | null {
  let text: string;
  let mode: number;
  try {
    text = readFileSync(path, 'utf8').trim();
    mode = statSync(path).mode;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return null;
    throw new SettingsError(
      `${path} can not be read (${code}). It must be readable for the account that runs Claviger.`,
    );
  }
  if ((mode & 0o077) !== 0) {
    throw new SettingsError(
      `${path} can be read or written by other accounts (mode ${(mode & 0o777).toString(8)}). Run: chmod 600 '${path}'. If others may have seen it, remove the file; a new key is made at the next start.`,
    );
  }
  if (text === '') {
    throw new SettingsError(
      `${path} is empty. Put the key back into it, or remove the file; a new key is made at the next start.`,
    );
  }
  return text;
}

function warnIfOther(saltKey: string, dataDir: string, warnings: string[]): void {
  const path = join(dataDir, SALT_KEY_FILE);
  const kept = readKeptKey(path);
  if (kept === null || kept === saltKey) return;
  warnings.push(
    `LITELLM_SALT_KEY is not the key in ${path} that was used before; secrets that were sealed with that one can not be opened.`,
  );
}
