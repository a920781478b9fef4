import { setTimeout as delay } from 'node:timers/promises';
import type { Weather } from '../../support/chaos-proxy.ts';
import { isAlive } from '../../support/processes-table.ts';
import { until } from '../../support/until.ts';
import type { ChaosFleet, Member } from './chaos-fleet.ts';
import type { Disturbances, Effect } from './disturbances.ts';
import { JOINED, type LinkFault, type MemberName, type ProcessRole, type ScheduledFault, WORKERS } from './schedule.ts';

/** A process that was ended is there again within this, also on a busy machine and after several deaths in a row. */
const RESTART_MS = 60_000;
const FLAP_MS = 700;
const WEATHER: Readonly<Record<Exclude<LinkFault, 'flap'>, Weather>> = {
  blackhole: { kind: 'blackhole' },
  latency: { kind: 'pass', latencyMs: 150 },
  reset: { kind: 'reset' },
  drip: { kind: 'drip', dripIntervalMs: 5 },
  'half-open': { kind: 'half-open' },
};

/** What was seen of restarts, in milliseconds from SIGKILL until it served again. */
export interface RestartTimes {
  readonly gateway: number[];
  readonly supervisor: number[];
  readonly control: number[];
}

export interface Injection {
  readonly fleet: ChaosFleet;
  readonly disturbances: Disturbances;
  readonly restarts: RestartTimes;
  /** What was in memory only is gone: once after SIGKILL, and once more when the next process serves. */
  readonly onRestart: (name: MemberName) => void;
  readonly onDatabaseEnd: () => void;
  /** What is told of the disturbance when something is wrong. */
  readonly line: string;
}

/** Lets one fault happen, and resolves when it has ended and what was ended runs again. */
export async function injectFault({ fault, lastsMs }: ScheduledFault, injection: Injection): Promise<void> {
  const { disturbances, fleet, line } = injection;
  const during = async (members: readonly MemberName[], effect: Effect, work: () => Promise<void>): Promise<void> => {
    const end = disturbances.begin(members, effect, line, Date.now());
    try {
      await work();
    } finally {
      end(Date.now());
    }
  };
  switch (fault.kind) {
    case 'database':
      return during(['admin', ...WORKERS], 'cut', async () => {
        await fleet.database.cluster.halt();
        injection.onDatabaseEnd();
        await delay(lastsMs);
        await fleet.database.cluster.resume();
      });
    case 'link': {
      const { proxy } = fleet.member(fault.link);
      return during([fault.link], 'cut', async () => {
        if (fault.weather === 'flap') await flap(lastsMs, (weather) => proxy!.set(weather));
        else {
          await proxy!.set(WEATHER[fault.weather]);
          await delay(lastsMs);
        }
        await proxy!.set({ kind: 'pass' });
      });
    }
    case 'stop': {
      const member = fleet.member(fault.member);
      const work = () => stopProcess(member, fault.role, lastsMs);
      return during([member.name], effectOf(fault.role), () => withJoined(member.name, during, work));
    }
    case 'kill': {
      const member = fleet.member(fault.member);
      const work = () => killProcess(member, fault.role, lastsMs, injection);
      return during([member.name], effectOf(fault.role), () => withJoined(member.name, during, work));
    }
  }
}

/** Connections lead through the supervisor into the gateway process. */
function effectOf(role: ProcessRole): Effect {
  return role === 'control' ? 'cut' : 'broken';
}

/** What happens to the admin cuts off the worker that has joined. */
function withJoined(
  name: MemberName,
  during: (members: readonly MemberName[], effect: Effect, work: () => Promise<void>) => Promise<void>,
  work: () => Promise<void>,
): Promise<void> {
  return name === 'admin' ? during([JOINED], 'cut', work) : work();
}

async function flap(lastsMs: number, set: (weather: Weather) => Promise<void>): Promise<void> {
  const end = performance.now() + lastsMs;
  for (let turn = 0; performance.now() < end; turn++) {
    await set({ kind: turn % 2 === 0 ? 'reset' : 'pass' });
    await delay(Math.min(FLAP_MS, Math.max(0, end - performance.now())));
  }
}

async function stopProcess(member: Member, role: ProcessRole, lastsMs: number): Promise<void> {
  // One that has just been ended by another line of the schedule comes back first.
  const pids = await until(`there is a ${role} process of ${member.name}`, () => pidsOf(member, role), RESTART_MS);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  await delay(lastsMs);
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGCONT');
}

async function killProcess(
  member: Member,
  role: ProcessRole,
  awayMs: number,
  { onRestart, restarts }: Injection,
): Promise<void> {
  const pids = await until(`there is a ${role} process of ${member.name}`, () => pidsOf(member, role), RESTART_MS);
  const killedAtMs = performance.now();
  member.kills[role] += pids.length;
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  if (role !== 'control') onRestart(member.name);
  if (role === 'supervisor') {
    await member.claviger.exited;
    await delay(awayMs);
    member.former.push(member.claviger);
    const startedAtMs = performance.now();
    member.claviger = await member.start();
    restarts.supervisor.push(performance.now() - startedAtMs);
    onRestart(member.name);
    return;
  }
  await until(
    `a ${role} process of ${member.name} has taken the place`,
    () => {
      const now = pidsOf(member, role);
      return now?.some((pid) => !pids.includes(pid)) ? true : null;
    },
    RESTART_MS,
  );
  if (role === 'gateway') {
    await member.claviger.waitUntilReady(RESTART_MS);
    onRestart(member.name);
  }
  restarts[role].push(performance.now() - killedAtMs);
}

function pidsOf({ claviger }: Member, role: ProcessRole): readonly number[] | null {
  const { control, gateways, supervisor } = claviger.pids();
  if (role === 'supervisor') return [supervisor];
  if (role === 'control') return control === null ? null : [control];
  return gateways.length === 0 ? null : gateways;
}
