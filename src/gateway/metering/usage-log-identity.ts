import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../observe/log.ts';
import { writeFileAtomicSync } from '../../util/atomic-file.ts';
import { ForeignInstallationError } from '../live/foreign-installation.ts';

/** Whose log a directory holds. */
interface Identity {
  /** Frame numbers count within it. */
  readonly incarnation: string;
  /** Null until the gateway process has heard of one. */
  readonly installation: string | null;
}

/** `usage-log.json`: written when the directory is new, and once more when the installation is known. */
export class UsageLogIdentity {
  /** True when this directory had no log before. */
  readonly isNew: boolean;
  readonly #directory: string;
  #identity: Identity;

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    const existing = readIdentity(pathIn(directory), log);
    this.isNew = existing === null;
    this.#identity = existing ?? { incarnation: randomUUID(), installation: null };
    if (existing === null) this.#write(this.#identity);
  }

  get incarnation(): string {
    return this.#identity.incarnation;
  }

  get installation(): string | null {
    return this.#identity.installation;
  }

  /** Records the installation. Throws when the log belongs to another one. */
  bindInstallation(installation: string): void {
    const { incarnation, installation: local } = this.#identity;
    if (local === installation) return;
    if (local !== null) {
      throw new ForeignInstallationError(`The usage log in ${this.#directory}`, local, installation);
    }
    this.#write({ incarnation, installation });
  }

  /** From now on the numbers are those of another incarnation, of which the database has heard nothing. */
  renewIncarnation(): void {
    this.#write({ incarnation: randomUUID(), installation: this.#identity.installation });
  }

  #write(identity: Identity): void {
    writeFileAtomicSync(pathIn(this.#directory), `${JSON.stringify(identity)}\n`, 0o600);
    this.#identity = identity;
  }
}

function pathIn(directory: string): string {
  return join(directory, 'usage-log.json');
}

/**
 * A file that can not be read is set aside, and the log gets a new incarnation: what it holds is then sent once more, and rows
 * that exist already are recognised by their request id.
 */
function readIdentity(path: string, log: Log): Identity | null {
  if (!existsSync(path)) return null;
  try {
    const { incarnation, installation } = JSON.parse(readFileSync(path, 'utf8')) as Identity;
    if (typeof incarnation === 'string' && (installation === null || typeof installation === 'string')) {
      return { incarnation, installation };
    }
  } catch (error) {
    log.debug({ error }, 'usage-log.json is not JSON');
  }
  log.error({ file: path }, 'The identity of the usage log is damaged; it is set aside as .bad and a new one is drawn');
  renameSync(path, `${path}.bad`);
  return null;
}
