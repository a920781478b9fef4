import type { Log } from '../../observe/log.ts';
import type { Database } from '../../storage/db.ts';
import {
  CLEAN_UP_ROWS_MAX,
  cleanUpFleet,
  type DepartureReason,
  type GatewayReport,
  hasCommands,
  leaveTheDiskTime,
  reportDepartures,
  reportGateways,
  takeCommands,
} from '../../storage/repositories/fleet.ts';
import type { Clock } from '../../util/clock.ts';
import type { ChangeTail } from './change-tail.ts';
import type { HeardRow } from './fleet-view.ts';
import { gatewayReport, heardAge, rowOfReport } from './gateway-report.ts';
import { REPORT_INTERVAL_MS, REPORTS_MISSED_MAX } from './gateway-state.ts';
import type { Registry, RegistryEntry } from './registry.ts';
import type { CheckedSet, ReportedStats } from './reported-stats.ts';

export interface FleetReporterOptions {
  readonly db: Database;
  readonly registry: Registry;
  readonly tail: Pick<ChangeTail, 'position'>;
  /** Instance of this control process. */
  readonly instanceId: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly intervalMs?: number;
}

/** Between two writes: what happens meanwhile is written together. */
export const REPORT_SPACING_MS = 50;
/** Rows per statement. */
export const REPORT_ROWS_MAX = 1_000;
/** The first ping of a new connection has come by then. */
const FIRST_PING_MS = 500;
/** While the database is away. What happens meanwhile becomes one row per gateway process. */
export const REPORT_RETRY_MS = 1_000;
/** Commands of operators are looked for this often. */
export const COMMAND_POLL_MS = 1_000;
/** Departures that could not be written yet; beyond it the oldest are dropped, and show by their age. */
const DEPARTURES_MAX = 10_000;
const CLEAN_UP_INTERVAL_MS = 3_600_000;
/** So that not all control processes of a fleet that was started at once clean up at once. */
const FIRST_CLEAN_UP_MS = 300_000;
const CLEAN_UP_ROUNDS_MAX = 20;
/** Gateway processes answer pings at this rate in all, so with many of them each is heard more rarely. */
const PINGS_PER_SECOND = 200;

/**
 * Writes what this control process hears of its gateway processes where the others can read it: at once when an applied revision moved or
 * somebody came or left, and all of it every ten seconds. Nothing waits for it, and what could not be written is caught up on later.
 */
export class FleetReporter {
  readonly #options: FleetReporterOptions;
  readonly #seen = new Map<string, SeenGateway>();
  readonly #departed = new Map<string, Departure>();
  #started = false;
  #stopped = false;
  #everything = true;
  #away = false;
  #timer: NodeJS.Timeout | null = null;
  #dueAtMs = 0;
  #writing: Promise<void> | null = null;
  #again = false;
  #wroteAtMs = Number.NEGATIVE_INFINITY;
  #interval: NodeJS.Timeout | null = null;
  #commands: NodeJS.Timeout | null = null;
  #cleanUp: NodeJS.Timeout | null = null;
  #askingCommands: Promise<void> | null = null;
  #stopListening: () => void = () => undefined;

  constructor(options: FleetReporterOptions) {
    this.#options = options;
  }

  /** From when the database has been opened. */
  start(): void {
    if (this.#started || this.#stopped) return;
    this.#started = true;
    const { registry, intervalMs = REPORT_INTERVAL_MS, random } = this.#options;
    this.#stopListening = registry.onChange(() => this.#schedule(this.#spacingMs));
    this.#interval = setInterval(() => {
      this.#everything = true;
      this.#schedule(0);
    }, intervalMs);
    this.#commands = setInterval(() => {
      this.lookForSilent();
      void this.pollCommands();
    }, COMMAND_POLL_MS);
    this.#cleanUp = setTimeout(() => void this.#cleanUpLater(), FIRST_CLEAN_UP_MS * (0.2 + random()));
    this.#schedule(0);
  }

  /** Writes what is left, goodbyes above all. */
  async stop(): Promise<void> {
    if (!this.#started || this.#stopped) return;
    // The streams of gateway processes that have just exited are still to be noticed.
    await new Promise((resolve) => setImmediate(resolve));
    this.#stopped = true;
    this.#stopListening();
    for (const timer of [this.#timer, this.#interval, this.#commands, this.#cleanUp]) {
      if (timer !== null) clearTimeout(timer);
    }
    await this.#writing;
    await this.#askingCommands;
    await this.#write();
  }

  /** The gateway processes connected here as they are now. `nowMs` is now on the clock of the database. */
  rows(nowMs: number): HeardRow[] {
    const heardEveryMs = this.#heardEveryMs;
    return [...this.#options.registry.entries()].map((entry) => ({
      ...rowOfReport(this.#report(entry), nowMs),
      heardEveryMs,
    }));
  }

  /** Who has said nothing lately is reported so at once, and as it is when it speaks again. */
  lookForSilent(): void {
    for (const seen of this.#seen.values()) {
      if (this.#isSilent(seen) === seen.silentWritten) continue;
      this.#schedule(this.#spacingMs);
      return;
    }
  }

  /** Hands on what operators asked of gateway processes that are connected here. */
  pollCommands(): Promise<void> {
    this.#askingCommands ??= this.#handOnCommands().finally(() => {
      this.#askingCommands = null;
    });
    return this.#askingCommands;
  }

  get #heardEveryMs(): number {
    return Math.max(1_000, (this.#options.registry.size / PINGS_PER_SECOND) * 1_000);
  }

  #isSilent({ entry, arrivedAtMs }: SeenGateway): boolean {
    const ageMs = heardAge(entry, { monotonicMs: this.#options.clock.monotonicMs(), arrivedAtMs });
    return ageMs >= REPORTS_MISSED_MAX * this.#heardEveryMs;
  }

  /** An acknowledgement after a quiet time is written at once. */
  get #spacingMs(): number {
    return Math.max(
      0,
      Math.min(REPORT_SPACING_MS, this.#wroteAtMs + REPORT_SPACING_MS - this.#options.clock.monotonicMs()),
    );
  }

  #schedule(delayMs: number): void {
    if (this.#stopped || !this.#started) return;
    if (this.#writing !== null) {
      this.#again = true;
      return;
    }
    const dueAtMs = this.#options.clock.monotonicMs() + delayMs;
    if (this.#timer !== null && this.#dueAtMs <= dueAtMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#writing = this.#write().finally(() => {
        this.#writing = null;
        const again = this.#again;
        this.#again = false;
        if (this.#away) this.#schedule(REPORT_RETRY_MS);
        else if (again) this.#schedule(this.#spacingMs);
        else if (this.#someAreSilent()) this.#schedule(FIRST_PING_MS);
      });
    }, delayMs);
  }

  async #write(): Promise<void> {
    const { clock, db, instanceId, log } = this.#options;
    const everything = this.#everything;
    const changed = this.#lookAround(everything);
    const departed = [...this.#departed];
    if (changed.length === 0 && departed.length === 0) return;
    this.#everything = false;
    this.#wroteAtMs = clock.monotonicMs();
    const departures = departed.map(([gatewayId, { session, reason, atMs }]) => ({
      gatewayId,
      session,
      reason,
      ageMs: clock.monotonicMs() - atMs,
    }));
    try {
      for (let start = 0; start === 0 || start < changed.length; start += REPORT_ROWS_MAX) {
        const part = changed.slice(start, start + REPORT_ROWS_MAX);
        await db.write(async (tx) => {
          await leaveTheDiskTime(tx);
          if (start === 0) await reportDepartures(tx, instanceId, departures);
          await reportGateways(
            tx,
            instanceId,
            part.map(({ report }) => report),
          );
        });
        for (const { seen, report } of part) {
          seen.written = { epoch: report.epoch, rev: report.rev };
          seen.saidWritten = (report.stats as ReportedStats).said !== null;
          seen.silentWritten = false;
        }
      }
      for (const [gatewayId, departure] of departed) {
        if (this.#departed.get(gatewayId) !== departure) continue;
        this.#departed.delete(gatewayId);
        const seen = this.#seen.get(gatewayId);
        if (seen !== undefined && departure.reason === 'not heard of') seen.silentWritten = true;
      }
      this.#away = false;
    } catch (error) {
      this.#everything ||= everything;
      if (!this.#away)
        log.warn({ err: error }, 'the fleet could not be told of our gateway processes; it is tried again');
      this.#away = true;
    }
  }

  /** Who has just connected says how it is a moment later. */
  #someAreSilent(): boolean {
    for (const { entry, saidWritten } of this.#seen.values())
      if (!saidWritten && entry.hello.protocol >= 2) return true;
    return false;
  }

  /** Notices arrivals and departures; returns what there is to write. */
  #lookAround(everything: boolean): { seen: SeenGateway; report: GatewayReport }[] {
    const { clock, registry } = this.#options;
    const changed: { seen: SeenGateway; report: GatewayReport }[] = [];
    const here = new Set<string>();
    for (const entry of registry.entries()) {
      const { gatewayId } = entry.hello;
      here.add(gatewayId);
      const seen = this.#see(entry);
      this.#departed.delete(gatewayId);
      const { acked } = entry;
      const moved = acked !== null && (seen.written?.epoch !== acked.epoch || seen.written.rev !== acked.rev);
      const spoke = entry.heard !== null && !seen.saidWritten;
      const isSilent = this.#isSilent(seen);
      const isDue = (everything || seen.silentWritten) && !isSilent;
      if (seen.written === null || moved || spoke || isDue) changed.push({ seen, report: this.#report(entry) });
      else if (isSilent && !seen.silentWritten) {
        const atMs = entry.heard?.atMs ?? seen.arrivedAtMs;
        this.#departed.set(gatewayId, { session: entry.hello.session, reason: 'not heard of', atMs });
      }
    }
    for (const [gatewayId, { entry }] of this.#seen) {
      if (here.has(gatewayId)) continue;
      this.#seen.delete(gatewayId);
      const reason = entry.heard?.ping.stats.draining === true ? 'drained' : 'connection lost';
      this.#departed.set(gatewayId, { session: entry.hello.session, reason, atMs: clock.monotonicMs() });
      if (this.#departed.size > DEPARTURES_MAX) this.#departed.delete(this.#departed.keys().next().value!);
    }
    return changed;
  }

  #see(entry: RegistryEntry): SeenGateway {
    const { gatewayId } = entry.hello;
    const known = this.#seen.get(gatewayId);
    if (known?.entry === entry) return known;
    const seen: SeenGateway = {
      entry,
      arrivedAtMs: this.#options.clock.monotonicMs(),
      written: null,
      saidWritten: false,
      silentWritten: false,
      checked: null,
    };
    this.#seen.set(gatewayId, seen);
    return seen;
  }

  #report(entry: RegistryEntry): GatewayReport {
    const { clock, tail } = this.#options;
    const seen = this.#see(entry);
    const report = gatewayReport(entry, {
      monotonicMs: clock.monotonicMs(),
      nowMs: clock.nowMs(),
      arrivedAtMs: seen.arrivedAtMs,
      head: tail.position,
      checked: seen.checked,
    });
    seen.checked = (report.stats as ReportedStats).checked;
    return report;
  }

  async #handOnCommands(): Promise<void> {
    const { db, instanceId, log, registry } = this.#options;
    if (registry.size === 0) return;
    try {
      if (!(await db.read((tx) => hasCommands(tx, instanceId)))) return;
      const entries = new Map([...registry.entries()].map((entry) => [entry.hello.gatewayId, entry]));
      for (const { gatewayId, command } of await db.write((tx) => takeCommands(tx, instanceId))) {
        const handedOn = entries.get(gatewayId)?.connection.command?.(command) === true;
        if (handedOn) log.info({ gatewayId, command }, 'a command of an operator was handed on');
        else log.warn({ gatewayId, command }, 'a command of an operator could not be handed on');
      }
    } catch (error) {
      log.debug({ err: error }, 'commands of operators could not be read');
    }
  }

  async #cleanUpLater(): Promise<void> {
    const { db, log } = this.#options;
    try {
      for (let round = 0; round < CLEAN_UP_ROUNDS_MAX && !this.#stopped; round++) {
        const deleted = await db.write(cleanUpFleet);
        if (deleted === null || deleted < CLEAN_UP_ROWS_MAX) break;
      }
    } catch (error) {
      log.debug({ err: error }, 'old deliveries could not be deleted; it is tried again');
    }
    if (!this.#stopped) this.#cleanUp = setTimeout(() => void this.#cleanUpLater(), CLEAN_UP_INTERVAL_MS);
  }
}

interface SeenGateway {
  readonly entry: RegistryEntry;
  readonly arrivedAtMs: number;
  /** Position in the row; null: it has none of this connection yet. */
  written: { readonly epoch: number; readonly rev: number } | null;
  /** The row has figures of this connection. */
  saidWritten: boolean;
  /** The row says that nothing is heard of it. */
  silentWritten: boolean;
  checked: CheckedSet | null;
}

interface Departure {
  readonly session: string;
  readonly reason: DepartureReason;
  readonly atMs: number;
}
