import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Account, type AccountKind, accountKey, denialName, parseAccountKey } from '../../domain/account.ts';
import type { Change, Position } from '../../domain/change.ts';
import type { KeyDigest } from '../../domain/virtual-key.ts';
import { parseDenialReply } from '../../feed/codec.ts';
import { DENIALS_PER_REPORT_MAX, type DenialReport, type Hello } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import { writeFileAtomicSync } from '../../util/atomic-file.ts';
import type { FeedTransport } from './feed-transport.ts';
import type { PrincipalStore, StoreContents } from './principal-store.ts';

/** Keys (and accounts) kept of each kind; a database that forgot more revocations than that is for a person. */
export const DENIALS_KEPT_MAX = 100_000;
/** Keys looked at for each frame of the snapshot that replaces them, so that no request waits for all of them. */
const KEYS_PER_STEP = 2_000;
const REPORT_TIMEOUT_MS = 10_000;
const FILE_NAME = 'held-denials.json';

export interface HeldDenialsOptions {
  /** The slot directory: what is held is still held after a kill. */
  readonly directory: string;
  readonly store: PrincipalStore;
  readonly identity: Pick<Hello, 'gatewayId' | 'session'>;
  readonly transport: Pick<FeedTransport, 'post'>;
  readonly log: Log;
}

/**
 * Denials win: when history is replaced (a new epoch), the keys that were blocked or deleted in the one before, the accounts that were blocked,
 * and that the new one allows are refused here all the same, and reported to the control plane, until it has blocked them itself.
 */
export class HeldDenials {
  readonly #options: HeldDenialsOptions;
  readonly #path: string;
  readonly #blocked: Set<string>;
  readonly #deleted: Set<string>;
  #collecting: Collecting | null = null;
  #reporting = false;
  /** What the control plane has said to the last report; they are let go when that is applied here. */
  #answered: { readonly epoch: number; readonly rev: number; readonly lifted: number } | null = null;

  /** The store has been restored before. */
  constructor(options: HeldDenialsOptions) {
    this.#options = options;
    this.#path = join(options.directory, FILE_NAME);
    const { blocked, deleted } = readHeld(this.#path, options.log);
    this.#blocked = new Set(blocked);
    this.#deleted = new Set(deleted);
    this.#deny();
  }

  get size(): number {
    return this.#blocked.size + this.#deleted.size;
  }

  /** A snapshot of a new epoch begins to arrive. */
  begin(): void {
    this.#collecting = new Collecting(this.#options.store.contents());
  }

  /** Called with each frame of it: spreads the work over the time that the snapshot takes. */
  proceed(): void {
    this.#collecting?.proceed(KEYS_PER_STEP);
  }

  /** It did not become complete. */
  abandon(): void {
    this.#collecting = null;
  }

  /** Called right behind the swap to a snapshot, in the same turn, before anything is answered from it. */
  replaced(newEpoch: boolean): void {
    const { store, log } = this.#options;
    const before = this.#collecting;
    this.#collecting = null;
    if (newEpoch && before !== null) {
      before.proceed(Number.POSITIVE_INFINITY);
      const isAllowed = (name: string): boolean => {
        const account = parseAccountKey(name);
        if (account !== null) return isAllowedAccount(store.account(account.kind, account.id), account.kind);
        return store.key(name as KeyDigest)?.principal.blocked === false;
      };
      for (const token of before.blocked) if (isAllowed(token)) this.#blocked.add(token);
      for (const token of before.deleted) if (isAllowed(token)) this.#deleted.add(token);
      if (before.left > 0) log.error({ left: before.left }, TOO_MANY);
      if (this.size > 0) {
        this.#answered = null;
        this.#save();
        log.warn({ blocked: this.#blocked.size, deleted: this.#deleted.size }, HELD);
      }
    }
    this.#deny();
  }

  /** Called behind each delta: one of them may have allowed a key whose denial the control plane does not know yet. */
  applied(position: Position, changes: readonly Change[]): 'held' | 'released' | 'lifted' {
    if (this.size === 0) return 'released';
    const answered = this.#answered;
    if (answered === null || answered.epoch !== position.epoch || position.rev < answered.rev) {
      const again = changes.map(denialName).filter((name) => this.#blocked.has(name) || this.#deleted.has(name));
      if (again.length > 0) this.#options.store.deny(again);
      return 'held';
    }
    this.#answered = null;
    this.#blocked.clear();
    this.#deleted.clear();
    rmSync(this.#path, { force: true });
    this.#options.log.info({}, 'The control plane has taken over what was refused here after its history was replaced');
    return answered.lifted > 0 ? 'lifted' : 'released';
  }

  /** Sends what is held, once at a time; a failed report goes again with the next call. Resolves when it is answered. */
  async report(epoch: number): Promise<void> {
    if (this.size === 0 || this.#reporting || this.#answered !== null) return;
    this.#reporting = true;
    try {
      const sizeThen = this.size;
      let rev = 0;
      let lifted = 0;
      for (const report of this.#reports(epoch)) {
        const { transport, log } = this.#options;
        const { status, body } = await transport.post('/feed/v1/denials', JSON.stringify(report), REPORT_TIMEOUT_MS);
        if (status !== 200) {
          log.debug({ status }, 'A report of denials was refused');
          return;
        }
        const reply = parseDenialReply(body);
        rev = Math.max(rev, reply.rev);
        lifted += reply.lifted;
      }
      // What was added meanwhile is not in it.
      if (this.size === sizeThen) this.#answered = { epoch, rev, lifted };
    } catch (error) {
      this.#options.log.debug({ error }, 'A report of denials was not answered');
    } finally {
      this.#reporting = false;
    }
  }

  *#reports(epoch: number): Generator<DenialReport> {
    const { gatewayId, session } = this.#options.identity;
    for (const blocked of pages([...this.#blocked])) yield { gatewayId, session, epoch, blocked, deleted: [] };
    for (const deleted of pages([...this.#deleted])) yield { gatewayId, session, epoch, blocked: [], deleted };
  }

  #deny(): void {
    if (this.size > 0) this.#options.store.deny([...this.#blocked, ...this.#deleted]);
  }

  #save(): void {
    try {
      writeFileAtomicSync(this.#path, JSON.stringify({ blocked: [...this.#blocked], deleted: [...this.#deleted] }));
    } catch (error) {
      this.#options.log.error(
        { error },
        'What is refused here could not be written to disk; it is until the process ends',
      );
    }
  }
}

const HELD =
  'The history of the database was replaced by one that allows keys which were blocked or deleted before. They stay refused, and are reported to the control plane';
const TOO_MANY =
  'More keys were blocked or deleted before the history of the database was replaced than are kept. Compare the keys of the database with the audit log';

/** The denied keys of a store, found step by step, and its blocked accounts. */
class Collecting {
  readonly blocked: string[] = [];
  readonly deleted: string[] = [];
  /** Denied keys beyond the bound. */
  left = 0;
  readonly #keys: Iterator<{ readonly principal: { readonly token: string; readonly blocked: boolean } }>;
  readonly #deletedTokens: Iterator<string>;

  constructor(contents: StoreContents) {
    for (const { kind, id, blocked } of contents.accounts) if (blocked) this.#keep(this.blocked, accountKey(kind, id));
    this.#keys = contents.keys()[Symbol.iterator]();
    this.#deletedTokens = contents.deletedTokens()[Symbol.iterator]();
  }

  proceed(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      const key = this.#keys.next();
      const deleted = this.#deletedTokens.next();
      if (key.done !== true && key.value.principal.blocked) this.#keep(this.blocked, key.value.principal.token);
      if (deleted.done !== true) this.#keep(this.deleted, deleted.value);
      if (key.done === true && deleted.done === true) return;
    }
  }

  #keep(list: string[], token: string): void {
    if (list.length < DENIALS_KEPT_MAX) list.push(token);
    else this.left += 1;
  }
}

/** A customer that is in no feed is allowed too. */
function isAllowedAccount(account: Account | undefined, kind: AccountKind): boolean {
  return account === undefined ? kind === 'customer' : !account.blocked;
}

function pages(tokens: readonly string[]): string[][] {
  const list: string[][] = [];
  for (let start = 0; start < tokens.length; start += DENIALS_PER_REPORT_MAX) {
    list.push(tokens.slice(start, start + DENIALS_PER_REPORT_MAX));
  }
  return list;
}

function readHeld(path: string, log: Log): { blocked: string[]; deleted: string[] } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return { blocked: [], deleted: [] };
  }
  try {
    const { blocked, deleted } = JSON.parse(text) as { blocked: unknown; deleted: unknown };
    return { blocked: texts(blocked), deleted: texts(deleted) };
  } catch (error) {
    log.error({ error, path }, 'What was refused here after a restore can not be read');
    return { blocked: [], deleted: [] };
  }
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}
