import type { ClavigerRole } from '../../support/processes.ts';
import { seededRandom } from '../seeded-random.ts';

/** Instances of the fleet under test. `ap-0` has joined; the others share the database with the admin. */
export const WORKERS = ['eu-0', 'eu-1', 'us-0', 'us-1', 'ap-0'] as const;
export type WorkerName = (typeof WORKERS)[number];
export type MemberName = 'admin' | WorkerName;
/** Its only way to the fleet leads to the admin. */
export const JOINED: WorkerName = 'ap-0';

export type ProcessRole = Exclude<ClavigerRole, 'postgres'>;
/** On the way of a worker: to the database, or to the admin when it has joined. */
export type LinkFault = 'blackhole' | 'latency' | 'reset' | 'drip' | 'half-open' | 'flap';

/** One thing that goes wrong, and for how long; what is killed stays away for `lastsMs` at most if nobody but the schedule starts it again. */
export type Fault =
  | { readonly kind: 'kill' | 'stop'; readonly role: ProcessRole; readonly member: MemberName }
  | { readonly kind: 'database' }
  | { readonly kind: 'link'; readonly link: WorkerName; readonly weather: LinkFault };

export interface ScheduledFault {
  /** From the beginning of its round. */
  readonly atMs: number;
  readonly lastsMs: number;
  readonly fault: Fault;
}

/** Faults, all of which have ended after `stormMs`; then it is quiet, and everything has to be right again. */
export interface Round {
  readonly stormMs: number;
  readonly faults: readonly ScheduledFault[];
}

export const STORM_MS = 30_000;
/** What a quiet time takes; the number of rounds is counted with it. */
export const QUIET_MS = 12_000;
export const ROUNDS_MAX = 100;

const GAP_MIN_MS = 800;
const GAP_MAX_MS = 3_600;
/** A stopped process goes on after 1 to 60 s, at a quarter of the time, as everything here. */
const STOP_MIN_MS = 250;
const STOP_MAX_MS = 15_000;
const LINK_MIN_MS = 500;
const LINK_MAX_MS = 20_000;
const AWAY_MIN_MS = 200;
const AWAY_MAX_MS = 6_000;
/** After SIGKILL the same instance is left alone for this long. */
const KILL_RECOVERY_MS = 6_000;

const PROCESS_ROLES: readonly ProcessRole[] = ['gateway', 'control', 'supervisor'];
const LINK_FAULTS: readonly LinkFault[] = ['blackhole', 'latency', 'reset', 'drip', 'half-open', 'flap'];
/** Each of these once, in random order, before any of them comes again. */
const KINDS = [
  ...PROCESS_ROLES.flatMap((role) => [{ kind: 'kill', role } as const, { kind: 'stop', role } as const]),
  { kind: 'database' } as const,
  ...LINK_FAULTS.map((weather) => ({ kind: 'link', weather }) as const),
];

/** The same for the same seed and number, whatever happens while it runs. */
export function scheduleOf(seed: number, rounds: number): Round[] {
  const random = seededRandom(seed);
  const deck: (typeof KINDS)[number][] = [];
  return Array.from({ length: Math.min(rounds, ROUNDS_MAX) }, () => roundOf(random, deck));
}

/** How many rounds fit, at least one. */
export function roundsIn(durationMs: number): number {
  return Math.max(1, Math.min(ROUNDS_MAX, Math.floor(durationMs / (STORM_MS + QUIET_MS))));
}

/** One line, for people who look for the cause of a violation. */
export function describeFault({ atMs, lastsMs, fault }: ScheduledFault): string {
  const at = `+${(atMs / 1_000).toFixed(1)} s`;
  const lasts = `for ${(lastsMs / 1_000).toFixed(1)} s`;
  switch (fault.kind) {
    case 'kill':
      return `${at} SIGKILL ${fault.role} of ${fault.member}${fault.role === 'supervisor' ? `, started again after ${(lastsMs / 1_000).toFixed(1)} s` : ''}`;
    case 'stop':
      return `${at} SIGSTOP ${fault.role} of ${fault.member} ${lasts}`;
    case 'database':
      return `${at} pg_ctl stop -m immediate ${lasts}`;
    case 'link':
      return `${at} ${fault.weather} on the way of ${fault.link} ${lasts}`;
  }
}

function roundOf(random: () => number, deck: (typeof KINDS)[number][]): Round {
  const faults: ScheduledFault[] = [];
  const busyUntilMs = new Map<string, number>();
  let atMs = between(random, 0, GAP_MAX_MS);
  while (atMs < STORM_MS) {
    if (deck.length === 0) deck.push(...shuffled(KINDS, random));
    const fault = aim(deck.shift()!, random, (target) => (busyUntilMs.get(target) ?? 0) <= atMs);
    // Nothing of that kind is free: the next gap, another kind.
    if (fault !== null) {
      const lastsMs = Math.round(Math.min(lengthOf(fault, random), STORM_MS - atMs));
      faults.push({ atMs: Math.round(atMs), lastsMs, fault });
      busyUntilMs.set(targetOf(fault), atMs + lastsMs + (fault.kind === 'kill' ? KILL_RECOVERY_MS : 0));
    }
    atMs += between(random, GAP_MIN_MS, GAP_MAX_MS);
  }
  return { stormMs: STORM_MS, faults };
}

function aim(kind: (typeof KINDS)[number], random: () => number, isFree: (target: string) => boolean): Fault | null {
  const candidates = candidatesOf(kind).filter((fault) => isFree(targetOf(fault)));
  return candidates[Math.floor(random() * candidates.length)] ?? null;
}

function candidatesOf(kind: (typeof KINDS)[number]): Fault[] {
  if (kind.kind === 'database') return [kind];
  if (kind.kind === 'link') return WORKERS.map((link) => ({ ...kind, link }));
  // A joined worker has no control process.
  const members: MemberName[] = ['admin', ...WORKERS.filter((name) => kind.role !== 'control' || name !== JOINED)];
  return members.map((member) => ({ ...kind, member }));
}

function targetOf(fault: Fault): string {
  if (fault.kind === 'database') return 'database';
  return fault.kind === 'link' ? `way of ${fault.link}` : fault.member;
}

function lengthOf(fault: Fault, random: () => number): number {
  if (fault.kind === 'link') return spread(random, LINK_MIN_MS, LINK_MAX_MS);
  if (fault.kind === 'stop') return spread(random, STOP_MIN_MS, STOP_MAX_MS);
  return spread(random, AWAY_MIN_MS, AWAY_MAX_MS);
}

/** Short ones and long ones are equally likely on a logarithmic scale. */
function spread(random: () => number, min: number, max: number): number {
  return min * (max / min) ** random();
}

function between(random: () => number, min: number, max: number): number {
  return min + random() * (max - min);
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
