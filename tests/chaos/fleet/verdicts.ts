import type { Disturbances } from './disturbances.ts';
import type { RingKey } from './key-ring.ts';
import type { WorkerName } from './schedule.ts';

/** One call that has ended. Times are of the wall clock, which all processes of a run share. */
export interface EndedCall {
  readonly id: string;
  readonly worker: WorkerName;
  readonly key: RingKey;
  readonly sentAtMs: number;
  readonly endedAtMs: number;
  /** Null: the connection failed, before the answer or in the middle of it. */
  readonly status: number | null;
  /** What an error answer or a failed connection said. */
  readonly reason: string;
  /** Of `x-claviger-rev`. */
  readonly rev: number | null;
  /** The newest revision that an answer of this worker, complete before this call was sent, had. */
  readonly revBefore: number;
}

/** What a gateway process has told the database about itself. */
export interface ReportedPosition {
  readonly gatewayId: string;
  readonly session: string;
  readonly epoch: number;
  readonly rev: number;
  /** Its keys when it had applied everything there was; null: never yet. */
  readonly checked: { readonly epoch: number; readonly rev: number; readonly setHash: string } | null;
}

/** What was promised, by the row of the table that tells of it. */
export type Promised =
  | 'refused'
  | 'connection'
  | 'revoked'
  | 'position'
  | 'keys'
  | 'recovery'
  | 'management'
  | 'books'
  | 'process';

export interface Violation {
  readonly promised: Promised;
  readonly atMs: number;
  readonly text: string;
}

export interface Bounds {
  readonly fenceMs: number;
  /** Of clients and their clocks: a call is measured outside of the process that admits it. */
  readonly slackMs: number;
}

/** A key is said not to be known although nothing disturbs the worker only this soon after it was made. */
const FRESH_KEY_MS = 2_000;
/** More are not kept: the run has failed long before. */
const VIOLATIONS_MAX = 200;

/** Reasons for 503 that the specifications have; others are violations. */
const UNAVAILABLE: readonly { readonly name: string; readonly text: RegExp }[] = [
  { name: 'key_not_known_here', text: /is not known here yet/ },
  { name: 'stale_knowledge', text: /is cut off from its database/ },
  { name: 'no_usable_snapshot', text: /has not received its keys and models yet/ },
];

/** What was promised and what happened. It knows nothing of processes: everything comes as events. */
export class Verdicts {
  readonly violations: Violation[] = [];
  readonly unavailable = new Map<string, number>();
  answered = 0;
  broken = 0;
  refusedRightly = 0;
  positions = 0;
  validCalls = 0;
  readonly #disturbances: Disturbances;
  readonly #bounds: Bounds;
  readonly #onViolation: (text: string) => void;
  /** Of each revoked key and worker: how long after the answer it was admitted last, and whether all was calm since. */
  readonly #admissions = new Map<RingKey, Map<WorkerName, { lateMs: number; calm: boolean }>>();
  readonly #sets = new Map<string, Map<string, Set<string>>>();
  readonly #reported = new Map<string, { epoch: number; rev: number }>();
  /** That any gateway process has reported. */
  readonly epochs = new Set<number>();

  constructor(disturbances: Disturbances, bounds: Bounds, onViolation: (text: string) => void) {
    this.#disturbances = disturbances;
    this.#bounds = bounds;
    this.#onViolation = onViolation;
  }

  violation(promised: Promised, atMs: number, text: string): void {
    if (this.violations.length >= VIOLATIONS_MAX) return;
    this.violations.push({ promised, atMs, text });
    this.#onViolation([text, ...this.#disturbances.linesAt(atMs).map((line) => `  ${line}`)].join('\n'));
  }

  ended(call: EndedCall): void {
    const { endedAtMs, id, key, rev, revBefore, status, worker } = call;
    if (rev !== null) {
      this.positions += 1;
      if (rev < revBefore)
        this.violation('position', endedAtMs, `${worker} went back from revision ${revBefore} to ${rev} (call ${id})`);
    }
    if (status === null) this.#connectionFailed(call);
    else if (key.revokingSinceMs === null) this.#ofValidKey(call, status);
    else if (key.revokedAtMs !== null) this.#ofRevokedKey(call, status);
  }

  count(promised: Promised): number {
    return this.violations.filter((violation) => violation.promised === promised).length;
  }

  /** The provider has had the call at this time, so it was admitted before. */
  providerHad(call: EndedCall, receivedAtMs: number): void {
    const { revokedAtMs } = call.key;
    if (revokedAtMs === null || receivedAtMs <= revokedAtMs) return;
    // A stop of the process between look-up and dispatch is not covered by the fence: then the client's clock counts.
    const stopped = this.#disturbances.mayBreak(call.worker, call.sentAtMs, receivedAtMs);
    const lateMs = (stopped ? call.sentAtMs : receivedAtMs) - revokedAtMs;
    if (lateMs > this.#bounds.fenceMs + this.#bounds.slackMs)
      this.violation(
        'revoked',
        receivedAtMs,
        `${call.worker} admitted a revoked key ${lateMs} ms after its commit, the fence is ${this.#bounds.fenceMs} ms (call ${call.id})`,
      );
  }

  /** Reports are written without waiting for the disk of the database: its sudden end takes the newest of them along. */
  databaseEnded(): void {
    this.#reported.clear();
  }

  /** Equal positions mean equal keys, on all gateway processes and for ever; no process goes back. */
  reported(atMs: number, { checked, epoch, gatewayId, rev, session }: ReportedPosition): void {
    const life = `${gatewayId} ${session}`;
    const before = this.#reported.get(life);
    if (before !== undefined && (epoch < before.epoch || (epoch === before.epoch && rev < before.rev)))
      this.violation('position', atMs, `${gatewayId} reported ${before.epoch}/${before.rev} and then ${epoch}/${rev}`);
    this.#reported.set(life, { epoch, rev });
    this.epochs.add(epoch);
    if (checked === null) return;
    const position = `${checked.epoch}/${checked.rev}`;
    const hashes = this.#sets.get(position) ?? new Map<string, Set<string>>();
    this.#sets.set(position, hashes);
    const isNew = !hashes.has(checked.setHash);
    hashes.set(checked.setHash, (hashes.get(checked.setHash) ?? new Set()).add(gatewayId));
    if (isNew && hashes.size > 1)
      this.violation(
        'keys',
        atMs,
        `at ${position} gateway processes hold different keys: ${[...hashes].map(([hash, ids]) => `${hash} (${[...ids].join(', ')})`).join(' and ')}`,
      );
  }

  /** Positions at which more than one gateway process could be compared, and the comparisons there. */
  get comparedSets(): { positions: number; gateways: number } {
    const several = [...this.#sets.values()]
      .map((hashes) => new Set([...hashes.values()].flatMap((ids) => [...ids])).size)
      .filter((count) => count > 1);
    return { positions: several.length, gateways: several.reduce((sum, count) => sum + count, 0) };
  }

  /** How long after the answer of its revocation a key was admitted last, by each worker that was asked. */
  lateness(calm: boolean): number[] {
    return [...this.#admissions.values()]
      .flatMap((workers) => [...workers.values()])
      .filter((admission) => admission.calm === calm)
      .map(({ lateMs }) => lateMs)
      .sort((a, b) => a - b);
  }

  #connectionFailed(call: EndedCall): void {
    this.broken += 1;
    if (!this.#disturbances.mayBreak(call.worker, call.sentAtMs, call.endedAtMs))
      this.violation(
        'connection',
        call.endedAtMs,
        `call ${call.id} to ${call.worker} failed although no process was ended: ${call.reason}`,
      );
  }

  #ofValidKey(call: EndedCall, status: number): void {
    const { endedAtMs, id, key, reason, sentAtMs, worker } = call;
    this.validCalls += 1;
    if (status === 200) {
      this.answered += 1;
      return;
    }
    const known = status === 503 ? UNAVAILABLE.find(({ text }) => text.test(reason)) : undefined;
    if (known === undefined) {
      this.violation('refused', endedAtMs, `a valid key was answered ${status} by ${worker}: ${reason} (call ${id})`);
      return;
    }
    this.unavailable.set(known.name, (this.unavailable.get(known.name) ?? 0) + 1);
    const isFresh = known.name === 'key_not_known_here' && sentAtMs - key.madeAtMs <= FRESH_KEY_MS;
    if (!isFresh && this.#disturbances.isCalm(worker, sentAtMs, endedAtMs))
      this.violation(
        'refused',
        endedAtMs,
        `a valid key was answered 503 ${known.name} by ${worker}, which nothing disturbed (call ${id}, sent ${sentAtMs - key.madeAtMs} ms after the key was made)`,
      );
  }

  #ofRevokedKey({ endedAtMs, id, key, sentAtMs, worker }: EndedCall, status: number): void {
    const revokedAtMs = key.revokedAtMs!;
    if (sentAtMs <= revokedAtMs) return;
    const workers = this.#admissions.get(key) ?? new Map<WorkerName, { lateMs: number; calm: boolean }>();
    this.#admissions.set(key, workers);
    const before = workers.get(worker) ?? {
      lateMs: 0,
      calm: this.#disturbances.isCalm(worker, revokedAtMs, endedAtMs),
    };
    workers.set(worker, before);
    if (status !== 200) {
      this.refusedRightly += 1;
      return;
    }
    const lateMs = sentAtMs - revokedAtMs;
    workers.set(worker, {
      lateMs: Math.max(before.lateMs, lateMs),
      calm: before.calm && this.#disturbances.isCalm(worker, revokedAtMs, endedAtMs),
    });
    if (lateMs > this.#bounds.fenceMs + this.#bounds.slackMs)
      this.violation(
        'revoked',
        endedAtMs,
        `${worker} admitted a revoked key ${lateMs} ms after its commit, the fence is ${this.#bounds.fenceMs} ms (call ${id})`,
      );
  }
}
