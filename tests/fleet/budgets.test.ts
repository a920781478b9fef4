/** An admin and a worker in each of two regions share budgets: what all of them together spend stays within, whatever happens to them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { type SharedDatabase, type SharedFleet, startSharedDatabase, startSharedFleet } from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-budgets';
const REGIONS = ['eu', 'us'] as const;
const CLIENTS = 12;

let database: SharedDatabase;
let fleet: SharedFleet;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'claviger-budgets-'));
  const config = join(directory, 'config.yaml');
  writeFileSync(
    config,
    `model_list:
  - model_name: priced
    litellm_params: { model: fake/gpt, input_cost_per_token: 0.00001, output_cost_per_token: 0.00002 }
    model_info: { max_output_tokens: 100 }
`,
  );
  database = await startSharedDatabase();
  fleet = await startSharedFleet(database, MASTER_KEY, (member) =>
    member === 'admin' ? {} : { args: ['--config', config] },
  );
});
afterAll(async () => {
  await fleet?.stop();
  await database?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function keyWith(fields: object): Promise<string> {
  const { key } = (await fleet.admin.api('POST', '/key/generate', fields)).json();
  await until('both regions know the key', async () => {
    const statuses = await Promise.all(REGIONS.map(async (region) => (await call(region, key)).status));
    return statuses.every((status) => status === 200) ? true : null;
  });
  return key;
}

/** What the clients of each key were told that their calls cost. */
const billed = new Map<string, number>();

interface Outcome {
  readonly status: number;
  readonly message: string;
}

async function call(region: (typeof REGIONS)[number], key: string): Promise<Outcome> {
  const body = { model: 'priced', max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }] };
  const answer = await fleet[region].api('POST', '/v1/chat/completions', body, key);
  billed.set(key, (billed.get(key) ?? 0) + Number(answer.headers.get('x-litellm-response-cost') ?? 0));
  return {
    status: answer.status,
    message: answer.status === 200 ? '' : (answer.json().error?.message ?? ''),
  };
}

async function spendOf(key: string): Promise<number> {
  const { info } = (await fleet.admin.api('GET', `/key/info?key=${key}`)).json();
  return info.spend;
}

/** Clients in both regions, each until it was told three times that the budget is spent. Calls that a kill cut off are left out. */
async function spendAll(key: string): Promise<Map<number, number>> {
  const statuses = new Map<number, number>();
  const client = async (region: (typeof REGIONS)[number]): Promise<void> => {
    for (let refusals = 0; refusals < 3; ) {
      const outcome = await call(region, key).catch(() => null);
      if (outcome === null) continue;
      statuses.set(outcome.status, (statuses.get(outcome.status) ?? 0) + 1);
      if (outcome.status === 429) refusals += 1;
    }
  };
  await Promise.all(REGIONS.flatMap((region) => Array.from({ length: CLIENTS }, () => client(region))));
  return statuses;
}

it('a strict budget is not exceeded by a cent, and is used to its end, over two regions', async () => {
  const key = await keyWith({ max_budget: 0.5, metadata: { budget_mode: 'strict' } });
  const statuses = await spendAll(key);
  const bill = billed.get(key)!;
  expect(bill).toBeLessThanOrEqual(0.5);
  expect(bill).toBeGreaterThan(0.5 * 0.95);
  expect([...statuses.keys()].sort()).toEqual([200, 429]);
  await until('all is booked', async () => (Math.abs((await spendOf(key)) - bill) < 1e-9 ? true : null));
});

it('nor when a worker is killed in the middle: what was in flight counts as spent', async () => {
  const key = await keyWith({ max_budget: 0.5, metadata: { budget_mode: 'strict' } });
  const spending = spendAll(key);
  for (let kills = 0; kills < 3; kills++) {
    await until('some of it is spent', async () => ((await spendOf(key)) > 0.1 * (kills + 1) ? true : null));
    fleet.eu.kill('gateway');
  }
  await spending;
  const bill = billed.get(key)!;
  expect(bill).toBeLessThanOrEqual(0.5);
  const booked = await until('all is booked', async () => {
    const spend = await spendOf(key);
    return spend >= bill - 1e-9 ? spend : null;
  });
  expect(booked).toBeLessThanOrEqual(0.5);
});

it('cut off, a worker spends what it holds and then says that it does not know: never for free, never as if it were spent', async () => {
  const key = await keyWith({ max_budget: 100 });
  // It is used, so that some of it is held here.
  for (let count = 0; count < 20; count++) expect((await call('eu', key)).status).toBe(200);
  // This cluster does not wait for the disk at each commit; the key and what is leased are to be there afterwards.
  await database.query('checkpoint');
  await database.cluster.halt();
  try {
    const statuses: number[] = [];
    await until('nothing is left here', async () => {
      const { status, message } = await call('eu', key);
      statuses.push(status);
      expect([200, 503]).toContain(status);
      if (status === 503) expect(message).toContain('budget of Key=');
      return status === 503 ? true : null;
    });
    expect(statuses[0]).toBe(200);
  } finally {
    await database.cluster.resume();
  }
  let last = '';
  await until('it is served again', async () => {
    const { status, message } = await call('eu', key);
    last = message;
    return status === 200 ? true : null;
  }).catch((error: Error) => Promise.reject(new Error(`${error.message}: ${last}`)));
});

it('a budget that is raised is in force at once', async () => {
  const key = await keyWith({ max_budget: 0.02 });
  await until('it is spent', async () => ((await call('eu', key)).status === 429 ? true : null));
  await fleet.admin.api('POST', '/key/update?wait=all&timeout=10s', { key, max_budget: 1 });
  expect((await call('eu', key)).status).toBe(200);
});
