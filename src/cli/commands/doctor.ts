import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { resolve as absolutePath } from 'node:path';
import { compileConfiguration } from '../../domain/compile-configuration.ts';
import type { Configuration, PriceSource } from '../../domain/configuration.ts';
import { configSourceFor } from '../../settings/config-source-for.ts';
import { type ResolvedSettings, resolveSettings } from '../../settings/resolve-settings.ts';
import { OperatorError } from '../../util/operator-error.ts';
import type { CliContext } from '../context.ts';
import { bundleText } from '../doctor/bundle.ts';
import { type Check, checksText, fail, ok, warn } from '../doctor/check.ts';
import { checkControlPlane } from '../doctor/check-control-plane.ts';
import { checkDataDirectory } from '../doctor/check-data-directory.ts';
import { checkDatabase } from '../doctor/check-database.ts';
import { checkPrices } from '../doctor/check-prices.ts';
import { checkProviders } from '../doctor/check-providers.ts';

export interface DoctorOptions {
  readonly config?: string;
  readonly json?: boolean;
  /** File to write everything to that a person who helps needs to see, without secrets. */
  readonly bundle?: string;
}

/** Looks at everything an instance would need here, changes nothing, and says what to do. 1 when something would fail. */
export async function runDoctor(options: DoctorOptions, context: CliContext): Promise<number> {
  const resolved = resolve(options, context);
  const checks = 'failure' in resolved ? [resolved.failure] : await examine(resolved);
  if (options.bundle !== undefined) {
    const path = absolutePath(context.cwd, options.bundle);
    const known = 'failure' in resolved ? null : resolved;
    const source = known === null ? null : configSourceFor(known.settings, known.env).source;
    writeFileSync(path, bundleText({ checks, resolved: known, source, nowMs: Date.now() }), { mode: 0o600 });
    context.err(`Written to ${path}. Secrets are replaced; look through it before you send it to anybody.\n`);
  }
  context.out(options.json === true ? `${JSON.stringify(checks, null, 2)}\n` : checksText(checks));
  return checks.some(({ status }) => status === 'fail') ? 1 : 0;
}

function resolve(options: DoctorOptions, { cwd, env }: CliContext): ResolvedSettings | { readonly failure: Check } {
  try {
    return resolveSettings({ flags: { config: options.config }, env, cwd, dryRun: true });
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return { failure: fail('configuration', error.message, 'Nothing else was checked.') };
  }
}

async function examine(resolved: ResolvedSettings): Promise<Check[]> {
  const { settings } = resolved;
  // Loaded here: the list of prices is large, and no other command asks for it.
  const { instancePrices } = await import('../../prices/instance-prices.ts');
  const prices = instancePrices(settings, { warn: () => undefined }).source;
  const { checks, configuration } = checkConfiguration(resolved, prices);
  return [
    ...checks,
    ...checkDataDirectory(settings.dataDir),
    ...(settings.controlPlaneUrls.length > 0
      ? await checkControlPlane(settings)
      : await checkDatabase(settings, Date.now)),
    ...(configuration === null ? [] : checkPrices(configuration)),
    ...(configuration === null ? [] : await checkProviders(configuration, settings.outbound)),
  ];
}

function checkConfiguration(
  { env, settings, warnings }: ResolvedSettings,
  prices: PriceSource,
): {
  readonly checks: readonly Check[];
  readonly configuration: Configuration | null;
} {
  const name = 'configuration';
  const remarks = warnings.map((warning) => warn(name, warning));
  try {
    const compiled = compileConfiguration(configSourceFor(settings, env).source, {
      prices,
      envValue: (variable) => env[variable],
      sha256Hex: (text) => createHash('sha256').update(text).digest('hex'),
    });
    const groups = compiled.configuration.groups.size + compiled.configuration.wildcards.length;
    const from = settings.configFilePath ?? (settings.fakeModels ? 'no file, built-in models' : 'no file');
    const found = ok(name, `${from}; role ${settings.role}, ${groups} model ${groups === 1 ? 'group' : 'groups'}`);
    const compileRemarks = compiled.warnings.map((warning) => warn(name, warning));
    return { checks: [found, ...remarks, ...compileRemarks], configuration: compiled.configuration };
  } catch (error) {
    // A deployment that can not be used, where the file says that this stops the start.
    return {
      checks: [...remarks, fail(name, error instanceof Error ? error.message : String(error))],
      configuration: null,
    };
  }
}
