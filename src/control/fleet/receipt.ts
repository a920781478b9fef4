import type { Revision } from '../../domain/change.ts';
import type { FenceTimes } from '../../domain/fence.ts';
import type { FenceClass, JsonValue } from '../../domain/virtual-key.ts';
import { isBefore } from '../../feed/codec.ts';
import type { Log } from '../../observe/log.ts';
import type { Database } from '../../storage/db.ts';
import { STATEMENT_TIMEOUT_MS } from '../../storage/pool.ts';
import { type BehindRow, type DeliveryRow, readBehind, readDelivery } from '../../storage/queries/fleet.ts';
import { changesOfRequest, type RecordedChange } from '../../storage/queries/fleet-changes.ts';
import type { Clock } from '../../util/clock.ts';
import type { ChangeTail } from './change-tail.ts';
import type { FleetReporter } from './fleet-report.ts';
import { reporterAge } from './fleet-view.ts';
import { gatewayState, PRESENCE_AGE_MAX_MS, REPORT_INTERVAL_MS, REPORTS_MISSED_MAX } from './gateway-state.ts';
import type { Registry } from './registry.ts';

export interface ReceiptRequest {
  readonly rev: Revision;
  readonly requestId: string;
  /** region: of this instance. */
  readonly scope: 'all' | 'region';
  readonly timeoutMs: number;
}

/** Which gateway processes have a change in force and, for the others, when they become safe anyway. */
export interface Receipt {
  readonly rev: Revision;
  readonly epoch: number;
  readonly applied: readonly AppliedPlace[];
  readonly pending: readonly PendingPlace[];
  /** The database could not be asked: only the gateway processes of this instance are in the lists. */
  readonly incomplete?: true;
}

export interface AppliedPlace {
  readonly worker: string;
  readonly gateway: string;
  readonly region: string;
  /** ISO 8601, on the clock of the database; null: it is not recorded. */
  readonly applied_at: string | null;
}

export interface PendingPlace {
  readonly worker: string;
  readonly gateway: string;
  readonly region: string;
  readonly last_seen: string;
  /** From then on it admits no key of the class of the changed key by what it knows. */
  readonly safe_at: string;
  /** Given when the change is not about keys: `safe_at` is that of normal keys then. */
  readonly safe_at_strict?: string;
  readonly reason: string;
}

export interface ReceiptsOptions {
  readonly db: Database;
  readonly registry: Registry;
  readonly reporter: Pick<FleetReporter, 'rows'>;
  readonly tail: Pick<ChangeTail, 'position'>;
  readonly region: string;
  readonly fence: FenceTimes;
  readonly clock: Clock;
  readonly log: Log;
}

/** Between two looks at the fleet while somebody waits. */
export const RECEIPT_POLL_MS = 25;
/** Changes that one request makes at most. */
const CHANGES_PER_REQUEST_MAX = 1_000;

/**
 * Waits until a change is in force everywhere, and says where it is. However many wait, one query at a time looks at the fleet; nobody
 * waits, nobody looks.
 */
export class Receipts {
  readonly #options: ReceiptsOptions;
  readonly #waiters = new Set<Waiter>();
  #polling = false;
  #stopped = false;

  constructor(options: ReceiptsOptions) {
    this.#options = options;
  }

  /** Of a change that was just committed. Never throws: the change was made, whatever becomes of its receipt. */
  async receipt(request: ReceiptRequest): Promise<Receipt> {
    const { clock, db, log, tail } = this.#options;
    const { rev, requestId, scope } = request;
    const target = { epoch: tail.position?.epoch ?? 0, rev, scope };
    const committedMs = clock.monotonicMs();
    await this.#wait(target, request.timeoutMs);
    try {
      const { read, changes } = await db.read(async (tx) => ({
        read: await readDelivery(tx, target),
        changes: await changesOfRequest(tx, { ...target, requestId, limit: CHANGES_PER_REQUEST_MAX }),
      }));
      // Measured from after the commit, so not before it.
      const committedAtMs = read.nowMs - (clock.monotonicMs() - committedMs);
      return this.#places(target, read, committedAtMs, fenceClassOf(changes));
    } catch (error) {
      log.warn({ err: error, rev }, 'a receipt is incomplete: the database could not be read');
      const nothing = { nowMs: clock.nowMs(), rows: [] };
      return { ...this.#places(target, nothing, nothing.nowMs, null), incomplete: true };
    }
  }

  /** Where a change of the log is in force by now. Throws `DatabaseUnavailable`. */
  async delivery(change: RecordedChange): Promise<Receipt> {
    const target = { epoch: change.epoch, rev: change.rev, scope: 'all' as const };
    const read = await this.#options.db.read((tx) => readDelivery(tx, target));
    // The log has the begin of the transaction.
    const committedAtMs = Math.min(read.nowMs, change.atMs + STATEMENT_TIMEOUT_MS);
    return this.#places(target, read, committedAtMs, fenceClassOf([change]));
  }

  /** Who still waits gets its receipt as things are. */
  stop(): void {
    this.#stopped = true;
    for (const waiter of this.#waiters) waiter.end();
  }

  #wait(target: Target, timeoutMs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter: Waiter = {
        ...target,
        end: () => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve();
        },
      };
      const timer = setTimeout(waiter.end, timeoutMs);
      this.#waiters.add(waiter);
      void this.#poll();
    });
  }

  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    while (this.#waiters.size > 0) {
      await this.#lookForAll();
      await new Promise((resolve) => setTimeout(resolve, RECEIPT_POLL_MS));
    }
    this.#polling = false;
  }

  async #lookForAll(): Promise<void> {
    const { db, log, region } = this.#options;
    const waiters = [...this.#waiters];
    const farthest = waiters.reduce((far, waiter) => (isBefore(far, waiter) ? waiter : far));
    try {
      const rows = await db.read((tx) => readBehind(tx, farthest));
      for (const waiter of waiters) {
        const inScope = (place: { readonly region: string }) => waiter.scope === 'all' || place.region === region;
        const isWaitedFor = (row: BehindRow) => isBefore(row, waiter) && inScope(row) && isLive(row);
        const here = new Map([...this.#options.registry.entries()].map((entry) => [entry.hello.gatewayId, entry]));
        const elsewhere = rows.filter(({ gatewayId }) => !here.has(gatewayId)).some(isWaitedFor);
        const ours = [...here.values()].some(
          ({ acked, hello }) => inScope(hello) && (acked === null || isBefore(acked, waiter)),
        );
        if (!elsewhere && !ours) waiter.end();
      }
    } catch (error) {
      log.debug({ err: error }, 'the fleet could not be read for a receipt');
    }
  }

  #places(target: Target, read: Delivery, committedAtMs: number, fenceClass: FenceClass | null): Receipt {
    const { fence, region, reporter } = this.#options;
    const { nowMs } = read;
    const rows = new Map(read.rows.map((row) => [row.gatewayId, row]));
    // What is connected here is known better than its row.
    for (const here of reporter.rows(nowMs)) {
      const known = rows.get(here.gatewayId);
      const hasIt = known?.hasIt === true || !isBefore(here, target);
      const deliveredAtMs = known?.deliveredAtMs ?? (hasIt ? here.appliedAtMs : null);
      rows.set(here.gatewayId, { ...here, hasIt, deliveredAtMs });
    }
    const inScope = (row: DeliveryRow) => target.scope === 'all' || row.region === region;
    const present = [...rows.values()].filter((row) => row.leftReason !== 'drained' && inScope(row));
    const facts = { nowMs, committedAtMs, fence, fenceClass };
    return {
      rev: target.rev,
      epoch: target.epoch,
      applied: present.filter(({ hasIt }) => hasIt).map(appliedPlace),
      pending: present.filter(({ hasIt }) => !hasIt).map((row) => pendingPlace(row, facts)),
    };
  }
}

type Delivery = Awaited<ReturnType<typeof readDelivery>>;

interface Target {
  readonly epoch: number;
  readonly rev: Revision;
  readonly scope: 'all' | 'region';
}

interface Waiter extends Target {
  readonly end: () => void;
}

export function appliedPlace(row: DeliveryRow): AppliedPlace {
  const { instanceId: worker, gatewayId: gateway, region, deliveredAtMs } = row;
  return { worker, gateway, region, applied_at: deliveredAtMs === null ? null : iso(deliveredAtMs) };
}

export interface PendingFacts {
  readonly nowMs: number;
  /** Not before the commit of the change. */
  readonly committedAtMs: number;
  readonly fence: FenceTimes;
  /** Of the changed keys; null: the change is about something else. */
  readonly fenceClass: FenceClass | null;
}

/**
 * A gateway process that does not have a change holds no witness that is younger than its commit: a witness counts only when all it has seen is
 * applied. Nor one that is younger than the last time it was heard of, but for the reports that its control process may owe.
 */
export function pendingPlace(
  row: DeliveryRow,
  { nowMs, committedAtMs, fence, fenceClass }: PendingFacts,
): PendingPlace {
  const { instanceId: worker, gatewayId: gateway, region } = row;
  const owedMs = REPORTS_MISSED_MAX * REPORT_INTERVAL_MS;
  const witnessMs = Math.min(committedAtMs, row.heardAtMs + owedMs);
  return {
    worker,
    gateway,
    region,
    last_seen: iso(row.heardAtMs),
    safe_at: iso(witnessMs + fence[fenceClass ?? 'normal']),
    ...(fenceClass === null ? { safe_at_strict: iso(witnessMs + fence.strict) } : {}),
    reason: reasonOf(row, nowMs),
  };
}

function reasonOf(row: DeliveryRow, nowMs: number): string {
  const heardAgeMs = Math.max(0, nowMs - row.heardAtMs);
  const seconds = Math.round(heardAgeMs / 1_000);
  const { leftReason } = row;
  const reporterAgeMs = reporterAge(row, nowMs);
  const facts = { heardAgeMs, heardEveryMs: REPORT_INTERVAL_MS, reporterAgeMs, leftReason, saysDraining: false };
  switch (gatewayState(facts)) {
    case 'lost':
      return `lost: not heard of for ${seconds} s`;
    case 'suspect':
      if (leftReason !== null) return leftReason;
      if (reporterAgeMs < PRESENCE_AGE_MAX_MS) return `not heard of for ${seconds} s`;
      return `its control process is not heard of for ${Math.round(reporterAgeMs / 1_000)} s`;
    default:
      return 'not confirmed yet';
  }
}

function isLive({ heardAgeMs, reporterAgeMs, leftReason }: BehindRow): boolean {
  const facts = { heardAgeMs, heardEveryMs: REPORT_INTERVAL_MS, reporterAgeMs, leftReason, saysDraining: false };
  return gatewayState(facts) === 'live';
}

/** The class by which those decide that do not know of the change yet; of several the looser one. */
function fenceClassOf(changes: readonly RecordedChange[]): FenceClass | null {
  const keys = changes.filter(({ kind }) => kind === 'key');
  if (keys.length === 0) return null;
  return keys.every(({ before, after }) => fenceOf(before ?? after) === 'strict') ? 'strict' : 'normal';
}

function fenceOf(key: JsonValue): FenceClass {
  const isObject = typeof key === 'object' && key !== null && !Array.isArray(key);
  return isObject && key.fence === 'strict' ? 'strict' : 'normal';
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
