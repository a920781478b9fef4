import { hash } from 'node:crypto';
import type { Revision } from '../../domain/change.ts';
import { compileConfiguration } from '../../domain/compile-configuration.ts';
import type { ConfigSource, ModelEntry } from '../../domain/config-source.ts';
import type { Configuration, PriceSource } from '../../domain/configuration.ts';
import { mergeModels } from '../../domain/merge-models.ts';
import { mapModelSecrets } from '../../domain/model-secrets.ts';
import { type OpenedModel, openModel } from '../../domain/open-model.ts';
import type { StoredModel } from '../../domain/stored-model.ts';
import { CONFIGURATION_OVERRIDES_MAX, type ConfigurationReport } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import type { Settings } from '../../settings/settings.ts';
import { unseal } from '../../util/sealed-value.ts';
import type { ConfigurationGuard, GoodModels } from './configuration-guard.ts';
import { EMPTY_MODELS_HASH, modelsHash, refuseTooMuch } from './measure-models.ts';
import type { PrincipalStore } from './principal-store.ts';

export interface LiveConfigurationOptions {
  readonly store: Pick<PrincipalStore, 'configRev' | 'models'>;
  readonly settings: Pick<Settings, 'region' | 'sealingKey' | 'storeModelInDb'>;
  /** The file of this instance, as it is now. Throws what the operator has to hear. */
  readonly readFile: () => ConfigSource;
  readonly prices: PriceSource;
  readonly envValue: (name: string) => string | undefined;
  readonly guard: ConfigurationGuard;
  readonly log: Log;
  /** A new configuration is in force from here on. */
  readonly onChange: (configuration: Configuration) => void;
}

/** Texts that the log is told to hide; the shapes of keys are hidden anyway. */
const HIDDEN_SECRETS_MAX = 500;
/** Of the reason of a rejection. */
const REASON_CHARS_MAX = 500;

/**
 * What this process routes by: its file and the models of the database that its region may use, compiled into one and swapped whole. A
 * configuration that can not be compiled, or over which processes have crashed, is rejected: the one before stays in force, the feed goes on,
 * and the report says so.
 */
export class LiveConfiguration {
  readonly #options: LiveConfigurationOptions;
  readonly #opened = new WeakMap<StoredModel, OpenedModel>();
  readonly #hidden = new Set<string>();
  #file: ConfigSource;
  #current: Configuration;
  /** The models of the database in `#current`. */
  #models: GoodModels;
  #overrides: readonly string[] = [];
  #rejected: ConfigurationReport['rejected'] = null;
  #said: ReadonlySet<string> = new Set();

  /** Throws when the file alone can not be used. */
  constructor(options: LiveConfigurationOptions) {
    this.#options = options;
    this.#file = options.readFile();
    const { guard } = options;
    const wanted = this.#wanted();
    const crashed = !guard.mayBoot(wanted);
    const first = crashed ? CRASH_LOOP : this.#attempt(wanted);
    if (typeof first !== 'string') {
      guard.activating(wanted);
      this.#models = wanted;
      this.#current = first;
      return;
    }
    // Throws when the fault is not with the models.
    const alone = this.#compile(NO_MODELS);
    this.#reject(wanted.rev, first);
    const good = this.#attempt(guard.lastGood);
    const usable = typeof good !== 'string';
    this.#models = usable ? guard.lastGood : NO_MODELS;
    this.#current = usable ? good : alone;
    // What was rejected for its crashes stays so over the next starts too.
    if (!crashed) guard.activating(this.#models);
  }

  get current(): Configuration {
    return this.#current;
  }

  /** Ids of models of the database in whose place the file of this instance has another content, sorted. */
  get overrides(): readonly string[] {
    return this.#overrides;
  }

  report(): ConfigurationReport {
    const overrides = this.#overrides.slice(0, CONFIGURATION_OVERRIDES_MAX);
    return { rev: this.#models.rev, rejected: this.#rejected, hash: this.#current.hash, overrides };
  }

  /** Called when the store has changed, behind the change. */
  storeChanged(): void {
    const { configRev } = this.#options.store;
    if (configRev === this.#models.rev || configRev === this.#rejected?.rev) return;
    const wanted = this.#wanted();
    if (wanted.modelsHash === this.#models.modelsHash) {
      this.#models = wanted;
      this.#rejected = null;
      return;
    }
    const { guard } = this.#options;
    const compiled = guard.isRejected(wanted.modelsHash) ? CRASH_LOOP : this.#attempt(wanted);
    if (typeof compiled === 'string') this.#reject(wanted.rev, compiled);
    else this.#use(wanted, compiled);
  }

  /**
   * The file is read again. What was rejected gets another chance: the operator may have repaired what it failed on. Throws as the constructor
   * does; the configuration before stays in force then.
   */
  reload(): void {
    const { guard, readFile } = this.#options;
    const before = this.#file;
    this.#file = readFile();
    try {
      const wanted = this.#wanted();
      const compiled = this.#attempt(wanted);
      if (typeof compiled !== 'string') {
        guard.forgive();
        this.#use(wanted, compiled);
        return;
      }
      // Models that can not be used must not keep a good file out.
      const withFormer = this.#compile(this.#models);
      this.#reject(wanted.rev, compiled);
      this.#current = withFormer;
      this.#options.onChange(withFormer);
    } catch (error) {
      this.#file = before;
      throw error;
    }
  }

  /** The same configuration with the prices as they are now. */
  pricesChanged(): void {
    const compiled = this.#attempt(this.#models);
    if (typeof compiled === 'string') {
      this.#options.log.error(
        { reason: compiled },
        'The configuration can not be compiled with the new prices; the one before stays in force',
      );
      return;
    }
    this.#current = compiled;
    this.#options.onChange(compiled);
  }

  #use(models: GoodModels, compiled: Configuration): void {
    this.#options.guard.activating(models);
    this.#models = models;
    this.#current = compiled;
    this.#rejected = null;
    this.#options.onChange(compiled);
  }

  /** The configuration, or why there is none. */
  #attempt(models: GoodModels): Configuration | string {
    try {
      return this.#compile(models);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #reject(rev: Revision, why: string): void {
    const { log } = this.#options;
    const reason = log.redact(why).slice(0, REASON_CHARS_MAX);
    this.#rejected = { rev, reason };
    log.error({ rev, reason }, 'The models of the database can not be used; the configuration before stays in force');
  }

  #compile({ models }: GoodModels): Configuration {
    const { envValue, prices, settings, log } = this.#options;
    refuseTooMuch(models);
    const warnings: string[] = [];
    const entries: ModelEntry[] = [];
    for (const model of models) {
      const opened = this.#open(model);
      if (opened.ok) {
        entries.push(opened.entry);
        warnings.push(...opened.warnings);
      } else warnings.push(opened.problem);
    }
    const { source, overrides } = mergeModels(this.#file, entries, sha256Hex);
    const compiled = compileConfiguration(source, { prices, envValue, sha256Hex, region: settings.region });
    this.#say([...warnings, ...compiled.warnings]);
    if (overrides.join() !== this.#overrides.join() && overrides.length > 0) {
      log.warn({ models: overrides.slice(0, CONFIGURATION_OVERRIDES_MAX) }, OVERRIDES);
    }
    this.#overrides = overrides;
    return compiled.configuration;
  }

  /** Each model once: the objects stay the same until they change. */
  #open(model: StoredModel): OpenedModel {
    const { envValue, settings, log } = this.#options;
    let opened = this.#opened.get(model);
    if (opened !== undefined) return opened;
    opened = openModel(model, { envValue, unseal: (sealed, context) => unseal(sealed, settings.sealingKey, context) });
    this.#opened.set(model, opened);
    if (!opened.ok) return opened;
    mapModelSecrets(opened.entry.litellmParams, (value) => {
      if (typeof value === 'string' && this.#hidden.size < HIDDEN_SECRETS_MAX && !this.#hidden.has(value)) {
        this.#hidden.add(value);
        log.hide(value);
      }
      return value;
    });
    return opened;
  }

  /** What the store has, as of its revision. */
  #wanted(): GoodModels {
    const { settings, store } = this.#options;
    const models = settings.storeModelInDb ? [...store.models.values()] : [];
    return { rev: store.configRev, modelsHash: modelsHash(models), models };
  }

  /** A change of one model must not repeat what is wrong with all others. */
  #say(warnings: readonly string[]): void {
    for (const warning of warnings) if (!this.#said.has(warning)) this.#options.log.warn({}, warning);
    this.#said = new Set(warnings);
  }
}

const NO_MODELS: GoodModels = { rev: 0, modelsHash: EMPTY_MODELS_HASH, models: [] };

const CRASH_LOOP =
  'crash loop: processes ended again and again within a minute of starting to use it. SIGHUP, or any later change of a model, has it tried again.';
const OVERRIDES =
  'The configuration file has other content for models of the database with the same id; on this instance the file counts';

function sha256Hex(text: string): string {
  return hash('sha256', text, 'hex');
}
