import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pick } from '../support/length.ts';
import type { ClavigerRole } from '../support/processes.ts';
import { isAlive } from '../support/processes-table.ts';
import { until } from '../support/until.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { ChaosClaviger, GATEWAYS, MODEL, PRICES } from './chaos-claviger.ts';
import { checkBooks } from './check-books.ts';
import { ClientLoad, type FailedCall } from './client-load.ts';
import { reportMeasured } from './report.ts';
import { seededRandom } from './seeded-random.ts';

const KILLS = pick(4, 100);
const ROLES: readonly ClavigerRole[] = ['gateway', 'control', 'postgres', 'supervisor'];
const CLIENTS = 6;
const KEYS = 3;
/** A connection made just before a kill may reach the process after it: the kernel takes a moment to end it. */
const KILL_GRACE_MS = 100;
const RESTART_MS = 60_000;

interface Kill {
  readonly role: ClavigerRole;
  readonly atMs: number;
  /** When new connections were answered again. */
  untilMs: number;
}

/** A killed process is replaced well within this, if it is replaced at all. */
const STAND_IN_MS = 8_000;

let chaos: ChaosClaviger;
beforeAll(async () => {
  chaos = await ChaosClaviger.start();
}, 90_000);
afterAll(() => chaos?.stop(), 60_000);

it(
  `${KILLS} kills of any process lose no settled record, count none twice, and fail only calls of the killed process`,
  async () => {
    const seed = Number(process.env.CLAVIGER_CHAOS_SEED ?? randomInt(2 ** 31));
    process.stderr.write(`CLAVIGER_CHAOS_SEED=${seed}\n`);
    const random = seededRandom(seed);
    const keys = await makeKeys();
    const load = new ClientLoad({ port: chaos.claviger.port, keys, model: MODEL, clients: CLIENTS, random });
    const kills: Kill[] = [];
    try {
      for (const role of rolesInTurn(random)) {
        await delay(200 + random() * 800);
        const kill: Kill = { role, atMs: 0, untilMs: 0 };
        kills.push(kill);
        await killOne(kill, random);
      }
      await delay(500);
    } finally {
      await load.stop();
    }
    await chaos.waitUntilQuiet();
    const check = async (): Promise<string[]> => checkBooks(await chaos.books(load.completed), PRICES);
    // What is left of slots without a process is shipped by another one, and is in nobody's backlog until then.
    await until('the books are right', async () => ((await check()).length === 0 ? true : null), RESTART_MS).catch(
      () => null,
    );
    const context = `seed ${seed}: ${kills.map(({ role }) => role).join(' ')}`;
    expect(await check(), context).toEqual([]);
    expect(
      unexcused(load.failed, kills),
      `${context}\n${JSON.stringify(kills)}\n${chaos.claviger
        .logs()
        .replaceAll(/^.*POST.* 200 .*\n/gm, '')
        .slice(-6_000)}`,
    ).toEqual([]);

    // Logs read again by new processes bring nothing that was counted already.
    chaos.claviger.kill('gateway');
    await chaos.waitUntilQuiet();
    expect(await check(), context).toEqual([]);

    expect(load.completed.length).toBeGreaterThan(KILLS * 5);
    await report(kills, load);
  },
  pick(180_000, 1_800_000),
);

/** Keys whose revision is in the snapshots of both gateway processes: each answers its first call only from there. */
async function makeKeys(): Promise<string[]> {
  const keys: string[] = [];
  for (let i = 0; i < KEYS; i++) keys.push(await chaos.claviger.generateKey());
  // Drained processes write their snapshot; those that follow start from it.
  expect(await chaos.claviger.stop()).toBe(0);
  await chaos.startAgain();
  await waitUntilCurrent(chaos.claviger, GATEWAYS);
  return keys;
}

/** Each role once in every round, in random order. */
function rolesInTurn(random: () => number): ClavigerRole[] {
  const list: ClavigerRole[] = [];
  while (list.length < KILLS) {
    const round = ROLES.map((role) => ({ role, at: random() })).sort((a, b) => a.at - b.at);
    list.push(...round.map(({ role }) => role));
  }
  return list.slice(0, KILLS);
}

/**
 * Kills one process. Returns when another kill may come: with a gateway process only when the new one serves (two dead ones
 * leave nobody to answer), with the others at once, so that several of them may be away together.
 */
async function killOne(
  kill: { role: ClavigerRole; atMs: number; untilMs: number },
  random: () => number,
): Promise<void> {
  if (kill.role === 'gateway') {
    const ready = readyCount();
    kill.atMs = performance.now();
    const pid = chaos.killGateway(random);
    kill.untilMs = kill.atMs + KILL_GRACE_MS;
    // A stand-in that was about to end (after a kill of the supervisor) is not replaced; then two others serve.
    const notReplaced = (): boolean =>
      performance.now() - kill.atMs > STAND_IN_MS && chaos.claviger.pids().gateways.length >= GATEWAYS;
    await until(
      'a gateway process has taken its place',
      () => (!isAlive(pid) && (readyCount() > ready || notReplaced()) ? true : null),
      RESTART_MS,
    );
  } else if (kill.role === 'supervisor') {
    kill.atMs = performance.now();
    chaos.claviger.kill('supervisor');
    await chaos.claviger.exited;
    await chaos.startAgain();
    await until('both gateway processes serve', () => (readyCount() >= GATEWAYS ? true : null), RESTART_MS);
    kill.untilMs = performance.now();
  } else {
    const pidOf = (): number | null => (kill.role === 'postgres' ? chaos.postgresPid() : chaos.claviger.pids().control);
    const pid = await until(`there is a ${kill.role} process`, pidOf, RESTART_MS);
    kill.atMs = performance.now();
    process.kill(pid, 'SIGKILL');
    kill.untilMs = kill.atMs;
  }
}

function readyCount(): number {
  return [...chaos.claviger.logs().matchAll(/gateway process ready/g)].length;
}

/**
 * Calls that nobody may lose. A killed gateway process takes its own connections along, a killed supervisor the port; an
 * error answer is never right, and neither is a failure while only the control process or PostgreSQL are away.
 */
function unexcused(failed: readonly FailedCall[], kills: readonly Kill[]): FailedCall[] {
  const fatal = kills.filter(({ role }) => role === 'gateway' || role === 'supervisor');
  return failed.filter(
    ({ endedAtMs, startedAtMs, status }) =>
      status !== null || !fatal.some(({ atMs, untilMs }) => startedAtMs <= untilMs && endedAtMs >= atMs),
  );
}

async function report(kills: readonly Kill[], load: ClientLoad): Promise<void> {
  const { rows } = await chaos.books(load.completed);
  const estimated = rows.filter((row) => row.estimated).length;
  const count = (role: ClavigerRole): number => kills.filter((kill) => kill.role === role).length;
  const away = kills.filter(({ role }) => role === 'supervisor').map(({ atMs, untilMs }) => untilMs - atMs);
  reportMeasured(
    'SIGKILL at random moments',
    `${kills.length} kills (${ROLES.map((role) => `${count(role)} ${role}`).join(', ')}); ${load.completed.length} calls answered and each booked exactly once, ` +
      `${load.failed.length} failed because their process was killed or no supervisor ran to listen, ${estimated} settled at their estimate; 0 lost, 0 twice`,
  );
  if (away.length > 0)
    reportMeasured(
      'Supervisor killed and started again',
      `all gateway processes serve again after at most ${Math.round(Math.max(...away))} ms`,
    );
}
