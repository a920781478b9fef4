import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, call, errorText } from './call.ts';
import { DEMO_MODEL, type DemoFleet, GATEWAYS_PER_REGION, type RegionName } from './demo-fleet.ts';
import { chat, type LoopResult, requestLoop } from './request-loop.ts';

/** Something was not as the tour says. */
export class TourFailure extends Error {}

type Say = (text: string) => void;

/** Of the request loops before, and while, something is away. */
const LOOP_MS = 3_000;
/** What is made or changed must be in force by then; it usually takes milliseconds. */
const IN_FORCE_MS = 5_000;
const REGIONS: readonly RegionName[] = ['eu', 'us'];

/** The five steps of the tour, each checked. Throws `TourFailure` at the first that is not as it says. */
export async function runTour(fleet: DemoFleet, say: Say): Promise<void> {
  const key = await makeKey(fleet, say);
  await useKey(fleet, key, say);
  await blockKey(fleet, key, say);
  await serveAlone(fleet, say);
  await killWorker(fleet, say);
}

async function makeKey(fleet: DemoFleet, say: Say): Promise<string> {
  say('1. Make a key on the admin.');
  const key = await newKey(fleet);
  say(`   ${key.slice(0, 6)}...${key.slice(-4)} is made.`);
  return key;
}

async function useKey(fleet: DemoFleet, key: string, say: Say): Promise<void> {
  say('2. Use it in both regions.');
  for (const region of REGIONS) {
    const tookMs = await untilStatus(fleet, region, key, 200);
    say(`   ${region}: 200, ${Math.round(tookMs)} ms after the first attempt began.`);
  }
}

async function blockKey(fleet: DemoFleet, key: string, say: Say): Promise<void> {
  say('3. Block it, and see the receipt.');
  const blocked = await manage(fleet, '/key/block?wait=all&timeout=2s', { key });
  const { applied, pending } = receiptOf(blocked);
  for (const region of REGIONS) {
    const gateways = applied.filter((place) => place.region === region).map(({ gateway }) => gateway);
    check(
      gateways.length >= GATEWAYS_PER_REGION,
      `the receipt names ${gateways.length} gateway processes of ${region}, not ${GATEWAYS_PER_REGION}: ${JSON.stringify(blocked.json?.['receipt'])}`,
    );
    say(`   The receipt says that ${gateways.length} gateway processes of ${region} have applied it.`);
  }
  check(pending.length === 0, `the receipt says that ${pending.length} gateway processes have not applied it`);
  say(`   The answer with the receipt took ${Math.round(blocked.tookMs)} ms.`);
  for (const region of REGIONS) {
    // Each gateway process of the region is asked.
    for (let attempt = 0; attempt < GATEWAYS_PER_REGION * 2; attempt++) {
      const answer = await chat(fleet.regions[region].url, key, DEMO_MODEL);
      check(answer.status === 401, `the blocked key was answered with ${errorText(answer)} in ${region}`);
    }
    say(`   ${region}: 401.`);
  }
}

async function serveAlone(fleet: DemoFleet, say: Say): Promise<void> {
  say('4. Kill the admin and the database while calls are made.');
  const key = await newKey(fleet);
  for (const region of REGIONS) await untilStatus(fleet, region, key, 200);
  await load(fleet, key, say, 'before', () => delay(LOOP_MS));
  await load(fleet, key, say, 'without admin and database', async () => {
    await Promise.all([fleet.admin.kill(), fleet.database.stop('immediate')]);
    await delay(LOOP_MS);
  });
  const refused = await manageOnce(fleet, '/key/generate', {});
  check(refused.status === 0, `the admin is killed and answers ${refused.status}`);
  const startedMs = performance.now();
  await fleet.database.start();
  await fleet.admin.start();
  const newer = await newKey(fleet);
  for (const region of REGIONS) await untilStatus(fleet, region, newer, 200);
  say(`   Both are back after ${seconds(performance.now() - startedMs)}; a new key works in both regions.`);
}

async function killWorker(fleet: DemoFleet, say: Say): Promise<void> {
  say('5. Kill the worker in us, and see it return.');
  const key = await newKey(fleet);
  for (const region of REGIONS) await untilStatus(fleet, region, key, 200);
  const other = requestLoop(() => chat(fleet.regions.eu.url, key, DEMO_MODEL));
  await fleet.regions.us.kill();
  const away = await chat(fleet.regions.us.url, key, DEMO_MODEL);
  check(away.status === 0, `the worker in us is killed and answers ${away.status}`);
  const startedMs = performance.now();
  await fleet.regions.us.start();
  const first = await chat(fleet.regions.us.url, key, DEMO_MODEL);
  check(first.status === 200, `the first call after the restart was answered with ${errorText(first)}`);
  say(`   us is back after ${seconds(performance.now() - startedMs)}; its first call: 200.`);
  report('eu meanwhile', await other.stop(), say);
}

async function load(
  fleet: DemoFleet,
  key: string,
  say: Say,
  when: string,
  meanwhile: () => Promise<void>,
): Promise<void> {
  const loops = REGIONS.map((region) => requestLoop(() => chat(fleet.regions[region].url, key, DEMO_MODEL)));
  await meanwhile();
  const results = await Promise.all(loops.map((loop) => loop.stop()));
  for (const [index, region] of REGIONS.entries()) report(`${region}, ${when}`, results[index]!, say);
}

function report(what: string, { byStatus, calls, p50Ms, p99Ms }: LoopResult, say: Say): void {
  const others = [...byStatus].filter(([status]) => status !== 200);
  check(calls > 0, `${what}: no call was made`);
  check(
    others.length === 0,
    `${what}: ${others.map(([status, count]) => `${count} calls ended with ${status}`).join(', ')}`,
  );
  say(`   ${what}: ${calls} calls, all 200; median ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms.`);
}

async function newKey(fleet: DemoFleet): Promise<string> {
  const answer = await manage(fleet, '/key/generate', {});
  const key = answer.json?.['key'];
  check(typeof key === 'string', 'the answer has no key');
  return String(key);
}

/** Tried again while the answer is 503: for a moment after a start management waits for its database. */
async function manage(fleet: DemoFleet, path: string, body: object): Promise<Answer> {
  const deadlineMs = performance.now() + IN_FORCE_MS * 2;
  for (;;) {
    const answer = await manageOnce(fleet, path, body);
    if (answer.status === 200) return answer;
    check(answer.status === 503 && performance.now() < deadlineMs, `${path} was answered with ${errorText(answer)}`);
    await delay(100);
  }
}

const manageOnce = (fleet: DemoFleet, path: string, body: object): Promise<Answer> =>
  call('POST', `${fleet.admin.url}${path}`, fleet.masterKey, body);

/** Milliseconds from the begin of the first attempt. A key that a region has not heard of yet is answered 503, and never 401. */
async function untilStatus(fleet: DemoFleet, region: RegionName, key: string, expected: number): Promise<number> {
  const startedMs = performance.now();
  for (;;) {
    const answer = await chat(fleet.regions[region].url, key, DEMO_MODEL);
    const tookMs = performance.now() - startedMs;
    if (answer.status === expected) return tookMs;
    check(
      answer.status === 503 && tookMs < IN_FORCE_MS,
      `${region} answered with ${errorText(answer)}, not ${expected}`,
    );
    await delay(10);
  }
}

interface Place {
  readonly gateway: string;
  readonly region: string;
}

function receiptOf({ json }: Answer): { readonly applied: readonly Place[]; readonly pending: readonly Place[] } {
  const receipt = json?.['receipt'] as { applied?: Place[]; pending?: Place[] } | undefined;
  check(receipt !== undefined, 'the answer has no receipt');
  return { applied: receipt?.applied ?? [], pending: receipt?.pending ?? [] };
}

function check(holds: boolean, sentence: string): void {
  if (!holds) throw new TourFailure(sentence);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
