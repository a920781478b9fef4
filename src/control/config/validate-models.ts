/**
 * Validation before commit, by the code that gateway processes compile with. What the control plane does not know here (their environment,
 * what secrets are) is taken to be there.
 */
import { createHash } from 'node:crypto';
import {
  type CompiledConfiguration,
  compileConfiguration,
  InvalidDeploymentError,
} from '../../domain/compile-configuration.ts';
import { type ConfigSource, EMPTY_CONFIG_SOURCE, type ModelEntry } from '../../domain/config-source.ts';
import type { PriceSource } from '../../domain/configuration.ts';
import { mergeModels } from '../../domain/merge-models.ts';
import { openModel } from '../../domain/open-model.ts';
import { DATABASE_MODELS_MAX, STORED_MODEL_BYTES_MAX, type StoredModel } from '../../domain/stored-model.ts';
import { refuseModel } from './refuse-model.ts';

export interface ValidationContext {
  /** The file of this instance. */
  readonly file: ConfigSource;
  readonly envValue: (name: string) => string | undefined;
  /** Prices of models that have none of their own; absent: nobody asks for them. */
  readonly prices?: PriceSource;
  /** Models that it may not use are left out, and its prices count; absent: all models, at the prices of no region. */
  readonly region?: string;
}

/** Throws a 400 with a sentence when `model` can not be used, or when the fleet could not use all of them together. */
export function validateModel(model: StoredModel, others: readonly StoredModel[], context: ValidationContext): void {
  refuseSize(model);
  if (others.length + 1 > DATABASE_MODELS_MAX) {
    throw refuseModel(`There are ${others.length} models in the database; ${DATABASE_MODELS_MAX} are the most.`);
  }
  try {
    compile({ ...EMPTY_CONFIG_SOURCE, models: [entryOf(model, context)], routerSettings: STRICT }, context);
  } catch (error) {
    if (!(error instanceof InvalidDeploymentError)) throw error;
    throw refuseModel(error.message);
  }
  try {
    compileFleet([...others, model], context);
  } catch (error) {
    throw refuseModel(`The configuration with this model can not be compiled: ${(error as Error).message}`);
  }
}

/** File and models of the database together; models that can not be used are left out, as gateway processes do by default. */
export function compileFleet(models: readonly StoredModel[], context: ValidationContext): CompiledConfiguration {
  const { file } = context;
  const { source } = mergeModels(
    file,
    models.map((model) => entryOf(model, context)),
    sha256Hex,
  );
  return compile({ ...source, routerSettings: { ...file.routerSettings, ignore_invalid_deployments: true } }, context);
}

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

const NO_PRICES: PriceSource = { find: () => null };
const STRICT = { ignore_invalid_deployments: false };

function compile(source: ConfigSource, context: ValidationContext): CompiledConfiguration {
  const { envValue, prices = NO_PRICES, region } = context;
  return compileConfiguration(source, { prices, envValue, sha256Hex, ...(region === undefined ? {} : { region }) });
}

function entryOf(model: StoredModel, { envValue }: ValidationContext): ModelEntry {
  const opened = openModel(model, {
    unseal: () => STAND_IN,
    envValue: (name) => envValue(name) ?? STAND_IN,
  });
  if (!opened.ok) throw new Error(opened.problem);
  return opened.entry;
}

/** For what is known to the workers only: an address, and a text wherever a text is wanted. */
const STAND_IN = 'https://known.to.workers.invalid';

function refuseSize(model: StoredModel): void {
  const bytes = Buffer.byteLength(JSON.stringify(model));
  if (bytes <= STORED_MODEL_BYTES_MAX) return;
  throw refuseModel(`The model is ${bytes} bytes of JSON when it is stored; ${STORED_MODEL_BYTES_MAX} are the most.`);
}
