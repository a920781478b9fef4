import { readFileSync, statSync } from 'node:fs';
import { type CostMap, EMPTY_COST_MAP, readCostMap } from '../domain/cost-map.ts';
import type { Log } from '../observe/log.ts';

/** The file in the data directory that all processes of an instance take the price list from. */
export const COST_MAP_FILE = 'model-cost-map.json';
/** How often a process looks whether the file is another one. */
export const COST_MAP_POLL_MS = 5_000;
/** A larger list is refused. LiteLLM's has under 2 MB. */
export const COST_MAP_BYTES_MAX = 32 * 1024 * 1024;

export interface CostMapCopyOptions {
  readonly path: string;
  readonly log: Pick<Log, 'warn'>;
  /** The list is another one from here on. */
  readonly onChange: () => void;
}

/**
 * The price list of an instance as it is on disk: what was last taken from where the list comes from, so that a process starts without that.
 * A file that can not be read is as none at the start; later the list before stays in force.
 */
export class CostMapCopy {
  readonly #options: CostMapCopyOptions;
  #entries: CostMap = EMPTY_COST_MAP;
  #version = '';
  #timer: NodeJS.Timeout | null = null;

  constructor(options: CostMapCopyOptions) {
    this.#options = options;
    this.#read();
  }

  get entries(): CostMap {
    return this.#entries;
  }

  /** Takes the file if it is another one than before. Returns whether it was. */
  check(): boolean {
    if (!this.#read()) return false;
    this.#options.onChange();
    return true;
  }

  run(): void {
    this.#timer = setInterval(() => this.check(), COST_MAP_POLL_MS);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  #read(): boolean {
    const { log, path } = this.#options;
    const version = versionOf(path);
    if (version === this.#version) return false;
    this.#version = version;
    if (version === '') {
      const had = this.#entries.size > 0;
      this.#entries = EMPTY_COST_MAP;
      return had;
    }
    try {
      this.#entries = readCostMap(readFileSync(path, 'utf8')).entries;
      return true;
    } catch (error) {
      log.warn(
        { err: error, path },
        'The copy of the price list on disk can not be used; the prices before stay in force',
      );
      return false;
    }
  }
}

/** Changes with each file that is put there; '' without one. */
function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}
