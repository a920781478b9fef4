import { databaseUrls, readSources } from '../../settings/read-sources.ts';
import { SettingsError } from '../../settings/settings-error.ts';
import { redactShapes } from '../../util/redact.ts';
import type { CliContext } from '../context.ts';

/** For deployments where instances run with `DISABLE_SCHEMA_UPDATE`: one job migrates, with its own database user. */
export async function runMigrate(
  options: { readonly config?: string; readonly check?: boolean },
  { cwd, env, out, err }: CliContext,
): Promise<number> {
  const sources = readSources({ flags: options, env, cwd });
  const { databaseUrl, directUrl } = databaseUrls(sources.env, sources.config.source.generalSettings);
  const url = directUrl ?? databaseUrl;
  if (url === null) {
    throw new SettingsError(
      'DATABASE_URL is not set. The embedded database is migrated when "claviger serve" starts it.',
    );
  }
  const { migrate } = await import('../../storage/migrate.ts');
  const say = (fields: object, message: string): void => {
    out(redactShapes(`${message} ${JSON.stringify(fields)}\n`));
  };
  const log: Parameters<typeof migrate>[0]['log'] = {
    debug: () => undefined,
    info: say,
    warn: say,
    error: say,
    child: () => log,
    hide: () => undefined,
    isEnabled: (level) => level !== 'debug',
    redact: redactShapes,
  };
  try {
    const { from, to } = await migrate({ url, checkOnly: options.check === true, log });
    out(
      from === to
        ? `The schema is at version ${to}; nothing to do.\n`
        : `The schema went from version ${from} to ${to}.\n`,
    );
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    err(`claviger: ${redactShapes(error.message)}\n`);
    return 1;
  }
}
