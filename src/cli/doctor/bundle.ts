import { readdirSync, readFileSync, statSync } from 'node:fs';
import { arch, cpus, freemem, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { ConfigSource } from '../../domain/config-source.ts';
import { KNOWN_VARIABLES } from '../../settings/known/environment.ts';
import type { ResolvedSettings } from '../../settings/resolve-settings.ts';
import { secretsOfSettings, secretsOfSource } from '../../settings/secrets.ts';
import { packageVersion } from '../../util/package-version.ts';
import { createRedactor, HIDDEN } from '../../util/redact.ts';
import type { Check } from './check.ts';

/** Lines from the end of the log of the embedded PostgreSQL. */
const LOG_LINES_MAX = 200;
/** Files of the data directory that are listed; further ones are counted. */
const FILES_MAX = 2_000;
const DEPTH_MAX = 3;
/** These hold a database or keys: their names say nothing that helps. */
const NOT_ENTERED = /^(postgres-\d+|identity)$/;

export interface BundleInput {
  readonly checks: readonly Check[];
  /** Null: the settings could not be resolved, which is among the checks. */
  readonly resolved: ResolvedSettings | null;
  readonly source: ConfigSource | null;
  readonly nowMs: number;
}

/**
 * Everything that a person who helps needs to see, as one JSON text without secrets: each value that is known to be secret and everything
 * that looks like one is replaced, and environment variables are shown only when this program knows them.
 */
export function bundleText({ checks, resolved, source, nowMs }: BundleInput): string {
  const redactor = createRedactor();
  if (resolved !== null) for (const secret of secretsOfSettings(resolved.settings)) redactor.hide(secret);
  if (source !== null) for (const secret of secretsOfSource(source)) redactor.hide(secret);
  const bundle = {
    made: new Date(nowMs).toISOString(),
    versions: { ...process.versions, claviger: packageVersion() },
    machine: {
      platform: `${platform()} ${release()} ${arch()}`,
      cores: cpus().length,
      memoryBytes: totalmem(),
      freeMemoryBytes: freemem(),
    },
    checks,
    settings:
      resolved === null ? null : { ...resolved.settings, masterKey: HIDDEN, sealingKey: HIDDEN, joinToken: null },
    warnings: resolved?.warnings ?? [],
    environment: resolved === null ? {} : knownEnvironment(resolved.env),
    config: source,
    dataDirectory: resolved === null ? null : listing(resolved.settings.dataDir),
    postgresLog: resolved === null ? [] : postgresLog(resolved.settings.dataDir),
  };
  return `${redactor.redact(JSON.stringify(bundle, null, 2))}\n`;
}

/** Values of secrets are already unknown to the text: here only their presence is said. */
function knownEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const shown: Record<string, string> = {};
  for (const { name } of KNOWN_VARIABLES) {
    const value = env[name];
    if (value !== undefined) shown[name] = SECRET_VARIABLE.test(name) ? '[set]' : value;
  }
  return shown;
}

const SECRET_VARIABLE = /KEY|TOKEN|SECRET|PASSWORD|LICENSE|CREDENTIAL/;

interface Listing {
  readonly files: readonly string[];
  /** Files beyond `FILES_MAX`. */
  readonly more: number;
}

function listing(directory: string): Listing {
  const files: string[] = [];
  let more = 0;
  const visit = (path: string, shown: string, depth: number): void => {
    let names: string[];
    try {
      names = readdirSync(path).sort();
    } catch (error) {
      files.push(`${shown}: ${(error as NodeJS.ErrnoException).code ?? 'can not be read'}`);
      return;
    }
    for (const name of names) {
      const entry = statOrNull(join(path, name));
      if (entry === null) continue;
      if (files.length >= FILES_MAX) more += 1;
      else files.push(`${mode(entry.mode)} ${entry.size} ${entry.mtime.toISOString()} ${shown}${name}`);
      if (entry.isDirectory() && depth < DEPTH_MAX && !NOT_ENTERED.test(name)) {
        visit(join(path, name), `${shown}${name}/`, depth + 1);
      }
    }
  };
  visit(directory, '', 1);
  return { files, more };
}

/** Null: it went away between the two looks. */
function statOrNull(path: string) {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

function mode(bits: number): string {
  return (bits & 0o7777).toString(8).padStart(4, '0');
}

/** End of the log of the newest embedded PostgreSQL; empty when there is none. */
function postgresLog(dataDir: string): string[] {
  try {
    const name = readdirSync(dataDir)
      .filter((file) => /^postgres-\d+\.log$/.test(file))
      .sort()
      .at(-1);
    return name === undefined ? [] : readFileSync(join(dataDir, name), 'utf8').split('\n').slice(-LOG_LINES_MAX);
  } catch {
    return [];
  }
}
