import { readFile, rm } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import type { Configuration } from '../domain/configuration.ts';
import {
  acceptCostMap,
  BadCostMapError,
  type CostMapEntry,
  type CostMapProblem,
  costMapText,
  isOf,
  nameInCostMap,
  readCostMap,
} from '../domain/cost-map.ts';
import type { Deployment } from '../domain/deployment.ts';
import { textOf } from '../domain/json-fields.ts';
import { hasWildcard } from '../domain/wildcard.ts';
import type { Log } from '../observe/log.ts';
import { writeFileAtomic } from '../util/atomic-file.ts';
import { COST_MAP_BYTES_MAX, type CostMapCopy } from './cost-map-copy.ts';

export type RefreshOutcome = 'failed' | 'unchanged' | 'updated';

export interface CostMapKeeperOptions {
  /** An address, or the absolute path of a file; null: the instance has no list but the bundled one. */
  readonly source: string | null;
  readonly copy: CostMapCopy;
  /** Of the copy. */
  readonly path: string;
  /** The text at an address; refuses what is longer than `COST_MAP_BYTES_MAX`. */
  readonly fetchText: (url: string) => Promise<string>;
  readonly configuration: () => Configuration;
  readonly log: Log;
  readonly onRefreshed: (outcome: RefreshOutcome, heldCount: number) => void;
}

/** Sentences in the log per refresh; the rest is a number. */
const SENTENCES_MAX = 20;

/**
 * Brings the copy of the price list up to date with where it comes from. One process of an instance does. What can not be read, or is no list,
 * changes nothing; a model in use whose price jumps keeps its price until `general_settings.confirmed_price_changes` names it.
 */
export class CostMapKeeper {
  readonly #options: CostMapKeeperOptions;
  #running: Promise<RefreshOutcome> | null = null;
  #again: Promise<RefreshOutcome> | null = null;

  constructor(options: CostMapKeeperOptions) {
    this.#options = options;
  }

  /** One at a time: asked while one is under way, one more is made behind it, however many asked. */
  refresh(): Promise<RefreshOutcome> {
    if (this.#running === null) {
      this.#running = this.#refresh().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    this.#again ??= this.#running.then(() => {
      this.#again = null;
      return this.refresh();
    });
    return this.#again;
  }

  async #refresh(): Promise<RefreshOutcome> {
    const { copy, log, onRefreshed, path, source } = this.#options;
    try {
      if (source === null) {
        await rm(path, { force: true });
        const outcome = copy.check() ? 'updated' : 'unchanged';
        onRefreshed(outcome, 0);
        return outcome;
      }
      const read = readCostMap(await this.#text(source));
      const { confirmedPriceChanges: confirmed } = this.#options.configuration().general;
      const { entries, held } = acceptCostMap(copy.entries, read, {
        isInUse: inUse(this.#options.configuration()),
        isConfirmed: (model) => confirmed === 'all' || confirmed.has(model),
      });
      const text = costMapText(entries);
      const changed = text !== costMapText(copy.entries);
      if (changed) await writeFileAtomic(path, text);
      if (changed) copy.check();
      this.#say(read.problems, 'A model of the price list has a price that is none; it keeps the price before');
      this.#say(held, HELD);
      const outcome = changed ? 'updated' : 'unchanged';
      log.info({ source: shownSource(source), models: entries.size, outcome }, 'The price list was read');
      onRefreshed(outcome, held.length);
      return outcome;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.warn(
        { source: shownSource(source ?? ''), reason },
        'The price list can not be read; the prices before stay in force',
      );
      onRefreshed('failed', 0);
      return 'failed';
    }
  }

  async #text(source: string): Promise<string> {
    if (!isAbsolute(source)) return this.#options.fetchText(source);
    const text = await readFile(source, 'utf8');
    if (text.length > COST_MAP_BYTES_MAX) throw new BadCostMapError(`it is longer than ${COST_MAP_BYTES_MAX} bytes`);
    return text;
  }

  #say(problems: readonly CostMapProblem[], sentence: string): void {
    const { log } = this.#options;
    for (const { model, reason } of problems.slice(0, SENTENCES_MAX)) log.warn({ model, reason }, sentence);
    if (problems.length > SENTENCES_MAX) log.warn({ more: problems.length - SENTENCES_MAX }, sentence);
  }
}

const HELD =
  'The price of a model in use changes fivefold or more; it keeps the price before. If the new one is right, name the model in general_settings.confirmed_price_changes';

/** Without what an address may hold of credentials. */
function shownSource(source: string): string {
  return source.replace(/^([a-z]+:\/\/)[^/?#]*@/i, '$1').replace(/[?#].*$/, '');
}

/** Names of the list that deployments of `configuration` have, or may have when they have a wildcard. */
function inUse({ groups, wildcards }: Configuration): (name: string, entry: CostMapEntry) => boolean {
  const deployments = [...groups.values(), ...wildcards].flatMap((group) => group.deployments);
  const open = new Set(deployments.filter(({ model }) => hasWildcard(model)).map(({ provider }) => provider));
  const plain = deployments.filter(({ model }) => !hasWildcard(model));
  return (name, entry) => {
    const only = new Map([[name, entry]]);
    if ([...open].some((provider) => name.startsWith(`${provider}/`) || isOf(provider, entry.provider))) return true;
    return plain.some((deployment) => stands(only, deployment));
  };
}

function stands(only: ReadonlyMap<string, CostMapEntry>, { model, modelInfo, provider }: Deployment): boolean {
  const base = textOf(modelInfo.base_model);
  const slash = base?.indexOf('/') ?? -1;
  const split = base === null || slash === -1 ? null : { provider: base.slice(0, slash), model: base.slice(slash + 1) };
  return (
    nameInCostMap(only, { provider, model }) !== null ||
    (base !== null && nameInCostMap(only, { provider, model: base, isGiven: true }) !== null) ||
    (split !== null && nameInCostMap(only, { ...split, isGiven: true }) !== null)
  );
}
