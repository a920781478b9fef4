import type { Settings } from '../../settings/settings.ts';
import { redactShapes } from '../../util/redact.ts';
import { type Check, fail, ok, warn } from './check.ts';

/** Clocks further apart make expiry dates and budget periods wrong by as much. */
export const CLOCK_DIFFERENCE_WARN_MS = 2_000;
export const CLOCK_DIFFERENCE_FAIL_MS = 60_000;

/** Reach, version, schema and clock of the database. The embedded one is only looked for: it runs while an instance runs. */
export async function checkDatabase(settings: Settings, nowMs: () => number): Promise<Check[]> {
  return settings.databaseUrl === null ? [await checkEmbedded()] : checkUrl(settings, settings.databaseUrl, nowMs);
}

async function checkEmbedded(): Promise<Check> {
  const { locatePlatformPackage } = await import('../../storage/embedded/platform-package.ts');
  try {
    locatePlatformPackage();
    return ok('database', 'embedded PostgreSQL, started and migrated by "claviger serve"');
  } catch (error) {
    return fail(
      'database',
      error instanceof Error ? error.message : String(error),
      'Set DATABASE_URL, or install the package.',
    );
  }
}

async function checkUrl(settings: Settings, url: string, nowMs: () => number): Promise<Check[]> {
  const { inspectDatabase } = await import('../../storage/inspect-database.ts');
  const { litellmSentence } = await import('../../storage/queries/litellm-tables.ts');
  let facts: Awaited<ReturnType<typeof inspectDatabase>>;
  try {
    facts = await inspectDatabase(url, nowMs);
  } catch (error) {
    const todo =
      'Check host, port, user, password and sslmode in DATABASE_URL, and that the server accepts connections from here.';
    return [fail('database', redactShapes(error instanceof Error ? error.message : String(error)), todo)];
  }
  const {
    clockAheadMs,
    description,
    litellm,
    neededSchemaVersion: needed,
    readOnly,
    roundTripMs,
    schemaVersion,
    serverTooOld,
    serverVersion,
  } = facts;
  const found = `PostgreSQL ${serverVersion} at ${description}`;
  const checks = [
    serverTooOld
      ? fail('database', found, 'Claviger needs PostgreSQL 14 or newer.')
      : ok('database', `${found}, ${roundTripMs} ms away`),
    checkSchema(schemaVersion, needed, settings.disableSchemaUpdate),
    checkClock(clockAheadMs),
    ...(readOnly ? [fail('database', `${description} is read-only`, 'Set DATABASE_URL to the primary server.')] : []),
    ...(litellm === null ? [] : [ok('database of LiteLLM', litellmSentence(litellm))]),
  ];
  if (settings.directUrl === null) return checks;
  try {
    await inspectDatabase(settings.directUrl, nowMs);
    checks.push(ok('direct database', 'DIRECT_URL answers'));
  } catch (error) {
    const message = redactShapes(error instanceof Error ? error.message : String(error));
    checks.push(fail('direct database', message, 'Check DIRECT_URL, or remove it when there is no pooler.'));
  }
  return checks;
}

export function checkSchema(version: number, needed: number, updateDisabled: boolean): Check {
  const name = 'database schema';
  if (version === needed) return ok(name, `version ${version}`);
  if (version > needed) {
    const todo = 'Start the newer version of Claviger, or restore a backup from before the upgrade.';
    return fail(name, `version ${version} is newer than this program knows (${needed})`, todo);
  }
  const found = version === 0 ? 'not made yet' : `version ${version}, this program needs ${needed}`;
  if (!updateDisabled) return ok(name, `${found}; "claviger serve" brings it up to date`);
  return fail(name, `${found}, and DISABLE_SCHEMA_UPDATE is set`, 'Run "claviger migrate".');
}

export function checkClock(aheadMs: number): Check {
  const name = 'clock';
  const distance = Math.abs(aheadMs);
  const text = `${(distance / 1000).toFixed(1)} s ${aheadMs >= 0 ? 'ahead of' : 'behind'} the database`;
  const todo = 'Synchronise both machines (NTP): expiry of keys and budget periods follow the clock.';
  if (distance >= CLOCK_DIFFERENCE_FAIL_MS) return fail(name, text, todo);
  return distance >= CLOCK_DIFFERENCE_WARN_MS ? warn(name, text, todo) : ok(name, text);
}
