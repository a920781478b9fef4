import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Revision } from '../../domain/change.ts';
import type { StoredModel } from '../../domain/stored-model.ts';
import type { Log } from '../../observe/log.ts';
import { writeFileAtomic } from '../../util/atomic-file.ts';
import {
  CONFIGURATION_TRIAL_MS,
  CRASHES_MAX,
  CRASHES_WITHOUT_GOOD_MAX,
  decideAtBoot,
  type Trial,
  trialOf,
} from './configuration-trial.ts';
import { EMPTY_MODELS_HASH } from './measure-models.ts';

/** Models of the database after which nothing crashed for `CONFIGURATION_TRIAL_MS`. Secrets in them are sealed. */
export interface GoodModels {
  readonly rev: Revision;
  readonly modelsHash: string;
  readonly models: readonly StoredModel[];
}

export interface ConfigurationGuardOptions {
  /** The slot directory. */
  readonly directory: string;
  readonly log: Log;
  readonly trialMs?: number;
}

export const TRIAL_FILE = 'boot.json';
export const GOOD_FILE = 'config-good.json';

/**
 * The crash-loop guard of one slot: remembers on disk that a configuration is on trial, and keeps the last good one. When neither can be
 * written, the configuration is used all the same: the guard is there to keep a process serving, not to stop it.
 */
export class ConfigurationGuard {
  readonly #options: ConfigurationGuardOptions;
  readonly #trialPath: string;
  readonly #goodPath: string;
  #good: GoodModels;
  #trial: Trial | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** What the timer is about: the first of those that came since something was good. With a change now and then, the last would never pass. */
  #tried: GoodModels | null = null;
  /** In force now, when that is a later one. */
  #newest: GoodModels | null = null;
  #saving: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ConfigurationGuardOptions) {
    const { directory } = options;
    this.#options = options;
    this.#trialPath = join(directory, TRIAL_FILE);
    this.#goodPath = join(directory, GOOD_FILE);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#good = this.#readGood() ?? { rev: 0, modelsHash: EMPTY_MODELS_HASH, models: [] };
  }

  get lastGood(): GoodModels {
    return this.#good;
  }

  /** Once, before anything is compiled. False: processes have crashed over this configuration; `lastGood` is to be used. */
  mayBoot({ modelsHash }: GoodModels): boolean {
    const { use, trial } = decideAtBoot(
      this.#readTrial(),
      modelsHash,
      this.#good.modelsHash,
      this.#good.models.length === 0 ? CRASHES_WITHOUT_GOOD_MAX : CRASHES_MAX,
    );
    this.#keep(trial);
    return use === 'current';
  }

  isRejected(modelsHash: string): boolean {
    return this.#trial?.rejected === true && this.#trial.modelsHash === modelsHash;
  }

  /** In the moment before models are used, at the start and for each that comes later. */
  activating(models: GoodModels): void {
    if (this.#closed) {
      this.#stopTimer();
      return;
    }
    this.#keep(trialOf(this.#trial, models.modelsHash, this.#good.modelsHash));
    if (this.#trial === null) this.#stopTimer();
    else if (this.#timer === null) this.#try(models);
    else this.#newest = models;
  }

  /** The operator wants to see it tried again. */
  forgive(): void {
    if (this.#trial?.rejected === true) this.#keep(null);
  }

  /** Resolves when what is known to be good is on disk. */
  get saved(): Promise<void> {
    return this.#saving;
  }

  /** The process begins to end as it should: nothing is to be concluded from that. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimer();
    if (this.#trial?.rejected !== true) this.#keep(null);
    await this.#saving;
  }

  #try(models: GoodModels): void {
    this.#tried = models;
    this.#newest = null;
    this.#timer = setTimeout(() => this.#passed(), this.#options.trialMs ?? CONFIGURATION_TRIAL_MS);
    this.#timer.unref();
  }

  #passed(): void {
    const [models, newest] = [this.#tried!, this.#newest];
    this.#stopTimer();
    this.#good = models;
    // The crashes until now were not its fault, nor that of those since: a new count.
    const passed =
      newest === null || newest.modelsHash === models.modelsHash
        ? this.#trial
        : { modelsHash: newest.modelsHash, crashes: 0, rejected: false };
    if (passed !== this.#trial) {
      this.#keep(passed);
      this.#try(newest!);
    }
    const { log } = this.#options;
    this.#saving = writeFileAtomic(this.#goodPath, encodeGood(models))
      .catch((error: unknown) => {
        log.warn({ error, file: GOOD_FILE }, 'The configuration that is known to be good could not be saved');
      })
      // Behind it: what a start falls back on has to be there before the trial is over.
      .then(() => {
        if (this.#trial === passed && this.#timer === null) this.#keep(null);
      });
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#tried = null;
    this.#newest = null;
  }

  /** Not synced: what a process that crashes has written is there, and a power failure proves nothing against a configuration. */
  #keep(trial: Trial | null): void {
    const before = this.#trial;
    this.#trial = trial;
    if (before !== null && trial !== null && JSON.stringify(before) === JSON.stringify(trial)) return;
    try {
      if (trial === null) {
        rmSync(this.#trialPath, { force: true });
        return;
      }
      const temporary = `${this.#trialPath}.tmp`;
      writeFileSync(temporary, `${JSON.stringify(trial)}\n`, { mode: 0o600 });
      renameSync(temporary, this.#trialPath);
    } catch (error) {
      this.#options.log.warn({ error, file: TRIAL_FILE }, 'The guard against crash loops could not write its file');
    }
  }

  #readTrial(): Trial | null {
    const trial = readJson(this.#trialPath) as Partial<Trial> | null;
    if (typeof trial?.modelsHash !== 'string' || !Number.isSafeInteger(trial.crashes)) return null;
    return { modelsHash: trial.modelsHash, crashes: trial.crashes!, rejected: trial.rejected === true };
  }

  #readGood(): GoodModels | null {
    const file = readJson(this.#goodPath) as { sha256?: unknown; good?: unknown } | null;
    if (file === null) return null;
    if (typeof file.good !== 'string' || file.sha256 !== sha256(file.good)) {
      this.#options.log.warn({ file: GOOD_FILE }, 'The configuration that was known to be good is damaged on disk');
      return null;
    }
    return JSON.parse(file.good) as GoodModels;
  }
}

/** The content as a text inside, so that the sum is over bytes and not over a way to write JSON. */
function encodeGood({ models, modelsHash, rev }: GoodModels): string {
  const good = JSON.stringify({ rev, modelsHash, models });
  return `${JSON.stringify({ sha256: sha256(good), good })}\n`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Null: there is none, or nothing that can be read. */
function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}
