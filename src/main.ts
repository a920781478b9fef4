import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLog, type Log } from './observe/log.ts';
import { bannerText, exampleModel } from './process/banner.ts';
import { supervise } from './process/supervisor.ts';
import { type ResolvedSettings, resolveSettings, type ServeFlags } from './settings/resolve-settings.ts';
import { MASTER_KEY_FILE, secretsOfSettings } from './settings/secrets.ts';
import type { Settings } from './settings/settings.ts';
import { systemClock } from './util/clock.ts';
import { OperatorError } from './util/operator-error.ts';

export interface ServeInput {
  readonly flags: ServeFlags;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths start here. */
  readonly cwd: string;
}

/** Runs an instance until it is told to end; the exit code of the program. */
export async function serve(input: ServeInput): Promise<number> {
  let log: Log | null = null;
  const explain = (error: unknown): void => {
    process.stderr.write(`${sentenceFor(error, log)}\n`);
  };
  try {
    const resolved = resolveSettings(input);
    const { env, settings, warnings } = resolved;
    log = createLog(settings.log);
    for (const secret of secretsOfSettings(settings)) log.hide(secret);
    for (const warning of warnings) log.warn({}, warning);
    makeDataDirectory(settings.dataDir);
    // From here on nothing that this process or a child of it writes is for other accounts.
    process.umask(0o077);
    const serving = log;
    return await supervise({
      settings,
      env,
      entries: childEntries(),
      log,
      clock: systemClock,
      random: Math.random,
      onServing: ({ late, port }) => {
        process.stdout.write(bannerFor(resolved, port));
        if (late !== null) serving.warn({}, late);
      },
      onCannotRun: explain,
    });
  } catch (error) {
    explain(error);
    return 1;
  }
}

/** Source and build have the same files with different endings. */
function childEntries(): { gateway: string; control: string } {
  const here = fileURLToPath(import.meta.url);
  const ending = here.endsWith('.ts') ? '.ts' : '.js';
  const entry = (name: string): string => join(dirname(here), 'process', `${name}${ending}`);
  return { gateway: entry('gateway-process'), control: entry('control-process') };
}

/** The directories above get the usual mode; the account of the embedded PostgreSQL may have to walk through them. */
function makeDataDirectory(dataDir: string): void {
  try {
    if (!existsSync(dataDir)) {
      mkdirSync(dirname(dataDir), { recursive: true });
      mkdirSync(dataDir, { mode: 0o700 });
    }
    // With the dot it also has to be a directory.
    accessSync(`${dataDir}/.`, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new OperatorError(
      `The data directory ${dataDir} can not be used (${code}); it must be a directory that this account can write to. Put that right, or choose another with CLAVIGER_DATA_DIR.`,
    );
  }
}

function bannerFor({ env, settings }: ResolvedSettings, port: number): string {
  const showKey = settings.masterKey !== '' && (process.stdout.isTTY === true || isOwnKey(settings));
  return bannerText({
    settings,
    port,
    masterKey: showKey ? settings.masterKey : null,
    model: exampleModel(settings, env),
  });
}

/** We made the key, so there is nowhere else to learn it from. */
function isOwnKey({ dataDir, masterKey }: Settings): boolean {
  try {
    return readFileSync(join(dataDir, MASTER_KEY_FILE), 'utf8').trim() === masterKey;
  } catch {
    return false;
  }
}

function sentenceFor(error: unknown, log: Log | null): string {
  if (!(error instanceof Error)) return String(error);
  // Anything else is a mistake of ours, and the stack is what a report about it needs.
  const text = error instanceof OperatorError ? `claviger: ${error.message}` : (error.stack ?? error.message);
  return log === null ? text : log.redact(text);
}
