/** Rate limits of a running instance with two gateway processes: what its clients are admitted in any window. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Claviger, temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { readFrames } from '../support/usage.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { dataDirIn, GATEWAYS, startKeyed } from './keyed-claviger.ts';

const WINDOW_SECONDS = 4;
const RPM = 30;

let dir: string;
let claviger: Claviger;

beforeAll(async () => {
  dir = await temporaryDirectory();
  claviger = await startKeyed(dir, { env: { LITELLM_RATE_LIMIT_WINDOW_SIZE: `${WINDOW_SECONDS}` } });
  await waitUntilCurrent(claviger, GATEWAYS);
});
afterAll(async () => {
  await claviger?.stop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

const chat = { model: 'alpha', messages: [{ role: 'user', content: 'hello' }] };
const call = (key: string, body: object = chat) => claviger.api('POST', '/v1/chat/completions', body, key);

/** Each call on a connection of its own, so that the processes take turns. */
async function load(key: string, clients: number, lastsMs: number) {
  const calls: { status: number; sentMs: number; answeredMs: number }[] = [];
  const endMs = performance.now() + lastsMs;
  const client = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const sentMs = performance.now();
      const { status } = await call(key);
      calls.push({ status, sentMs, answeredMs: performance.now() });
      await delay(20);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return calls;
}

/** A call was admitted between being sent and answered; windows in which all of that lies hold it for certain. */
function busiestWindow(calls: readonly { status: number; sentMs: number; answeredMs: number }[]): number {
  const admitted = calls.filter(({ status }) => status === 200);
  return Math.max(
    0,
    ...admitted.map(({ sentMs: fromMs }) => {
      const toMs = fromMs + WINDOW_SECONDS * 1_000;
      return admitted.filter(({ sentMs, answeredMs }) => sentMs >= fromMs && answeredMs < toMs).length;
    }),
  );
}

describe('an instance with two gateway processes', () => {
  it('admits a single client all of a limit, and many clients not one more in any window', async () => {
    const single = await claviger.generateKey({ rpm_limit: RPM });
    const alone = await load(single, 1, WINDOW_SECONDS * 1_000 - 500);
    expect(alone.filter(({ status }) => status === 200)).toHaveLength(RPM);
    const key = await claviger.generateKey({ rpm_limit: RPM });
    const calls = await load(key, 6, WINDOW_SECONDS * 3_000);
    expect(busiestWindow(calls)).toBeLessThanOrEqual(RPM);
    expect(busiestWindow(calls)).toBeGreaterThanOrEqual(RPM * 0.9);
    expect(new Set(calls.map(({ status }) => status))).toEqual(new Set([200, 429]));
    for (let slot = 0; slot < GATEWAYS; slot++)
      expect(readFrames(join(dataDirIn(dir), `gateway-${slot}`)).size).toBeGreaterThan(0);
  });

  it('frees the slots of a gateway process that is killed', async () => {
    const keys = await Promise.all(
      Array.from({ length: 4 }, () => claviger.generateKey({ max_parallel_requests: 2, rpm_limit: 1_000 })),
    );
    const long = { ...chat, stream: true, fake: { latency_ms: 60_000 } };
    for (const key of keys)
      await until('both slots are taken', async () => {
        void call(key, long).catch(() => {});
        await delay(30);
        return (await call(key)).status === 429 ? true : null;
      });
    const before = claviger.pids().gateways;
    for (const pid of before) process.kill(pid, 'SIGKILL');
    await until('both are there again', async () => {
      const { gateways } = claviger.pids();
      return gateways.length === GATEWAYS && gateways.every((pid) => !before.includes(pid)) ? true : null;
    });
    for (const key of keys)
      await until('its slots are free', async () =>
        (await call(key).then(
          ({ status }) => status,
          () => 0,
        )) === 200
          ? true
          : null,
      );
  });
});
