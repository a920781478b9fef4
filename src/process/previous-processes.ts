import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processIdentity } from '../util/process-identity.ts';

/** A child of an earlier supervisor that was killed; it finishes its open streams and exits by itself. */
export interface PreviousProcess {
  readonly pid: number;
  /** Null: the control process. */
  readonly slot: number | null;
  readonly identity: string;
}

/** Remembers in `processes.json` who the children are, so that the next start knows which of them still live. */
export class ProcessList {
  readonly #path: string;
  readonly #current = new Map<number | null, PreviousProcess>();

  constructor(dataDir: string) {
    this.#path = join(dataDir, 'processes.json');
  }

  /** Children of earlier supervisors that still run. */
  previous(): PreviousProcess[] {
    return this.#read().filter(isAlive);
  }

  record(slot: number | null, pid: number): void {
    const identity = processIdentity(pid);
    if (identity === null) return;
    this.#current.set(slot, { pid, slot, identity });
    const own = new Set([...this.#current.values()].map((process) => process.pid));
    const others = this.previous().filter((process) => !own.has(process.pid));
    this.#write([...others, ...this.#current.values()]);
  }

  #read(): PreviousProcess[] {
    try {
      const list: unknown = JSON.parse(readFileSync(this.#path, 'utf8'));
      return Array.isArray(list) ? list.filter(isEntry) : [];
    } catch {
      return [];
    }
  }

  /** Renamed into place, and not synced to disk: after a crash of the machine nobody in the list lives. */
  #write(list: readonly PreviousProcess[]): void {
    const temporary = `${this.#path}.tmp`;
    writeFileSync(temporary, `${JSON.stringify(list)}\n`, { mode: 0o600 });
    renameSync(temporary, this.#path);
  }
}

export function isAlive({ pid, identity }: PreviousProcess): boolean {
  return processIdentity(pid) === identity;
}

function isEntry(value: unknown): value is PreviousProcess {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, slot, identity } = value as Partial<PreviousProcess>;
  return Number.isInteger(pid) && (slot === null || Number.isInteger(slot)) && typeof identity === 'string';
}
