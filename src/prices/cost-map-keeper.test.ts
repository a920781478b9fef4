import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { compileConfiguration } from '../domain/compile-configuration.ts';
import { EMPTY_CONFIG_SOURCE } from '../domain/config-source.ts';
import { createLog } from '../observe/log.ts';
import { CostMapKeeper, type RefreshOutcome } from './cost-map-keeper.ts';
import { instancePrices } from './instance-prices.ts';

const GPT = { litellm_provider: 'openai', input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 };
const URL_OF_LIST = 'https://user:secret@prices.example.com/list.json?token=x';

let dir: string;
let text: string;
let fetches: number;
let confirmed: string[];
let refreshed: { outcome: RefreshOutcome; held: number }[];
let warnings: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'claviger-prices-'));
  text = JSON.stringify({ 'my-model': GPT });
  fetches = 0;
  confirmed = [];
  refreshed = [];
  warnings = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function instance(source: string | null = URL_OF_LIST) {
  const log = createLog({
    level: 'warn',
    json: true,
    write: (lines) => warnings.push(lines),
  });
  let changes = 0;
  const prices = instancePrices({ dataDir: dir, modelCostMap: source }, log, () => {
    changes++;
  });
  const configuration = () =>
    compileConfiguration(
      {
        ...EMPTY_CONFIG_SOURCE,
        models: [{ modelName: 'm', litellmParams: { model: 'openai/my-model', api_key: 'k' }, modelInfo: {} }],
        generalSettings: { confirmed_price_changes: confirmed },
      },
      { prices: prices.source, envValue: () => undefined, sha256Hex: (value) => value },
    ).configuration;
  const keeper = new CostMapKeeper({
    ...prices,
    source,
    fetchText: async () => {
      fetches++;
      return text;
    },
    configuration,
    log,
    onRefreshed: (outcome, held) => refreshed.push({ outcome, held }),
  });
  const price = () => configuration().groups.get('m')!.deployments[0]!.pricing?.input ?? null;
  return { keeper, prices, price, changes: () => changes };
}

it('takes the list, and a later start has it without the address', async () => {
  const { changes, keeper, price } = instance();
  expect(price()).toBeNull();
  expect(await keeper.refresh()).toBe('updated');
  expect([price(), changes()]).toEqual([1_000_000, 1]);
  expect(await keeper.refresh()).toBe('unchanged');
  expect(changes()).toBe(1);
  expect(instance().price()).toBe(1_000_000);
});

it('hears of a list that another process of the instance took', async () => {
  const other = instance();
  await instance().keeper.refresh();
  expect(other.prices.copy.check()).toBe(true);
  expect([other.price(), other.changes()]).toEqual([1_000_000, 1]);
  expect(other.prices.copy.check()).toBe(false);
});

it.each(['not json', '{}', '[1]', '{"m": {"input_cost_per_token": -1}}'])(
  'keeps the list before when it gets %s',
  async (bad) => {
    const { keeper, price } = instance();
    await keeper.refresh();
    text = bad;
    expect(await keeper.refresh()).toBe('failed');
    expect(price()).toBe(1_000_000);
    expect(instance().price()).toBe(1_000_000);
    expect(warnings.at(-1)).toContain('the prices before stay in force');
    expect(warnings.at(-1)).not.toMatch(/secret|token=x/);
  },
);

it('holds a jump of the price of a model in use until it is confirmed, over restarts too', async () => {
  const { keeper, price } = instance();
  await keeper.refresh();
  text = JSON.stringify({ 'my-model': { ...GPT, input_cost_per_token: 1e-3 }, other: GPT });
  expect(await keeper.refresh()).toBe('updated');
  expect(price()).toBe(1_000_000);
  expect(refreshed.at(-1)).toEqual({ outcome: 'updated', held: 1 });
  expect(warnings.join()).toMatch(/fivefold.*my-model.*from 0\.000001 to 0\.001 dollars per unit/);

  const again = instance();
  await again.keeper.refresh();
  expect(again.price()).toBe(1_000_000);
  confirmed = ['my-model'];
  expect(await again.keeper.refresh()).toBe('updated');
  expect(again.price()).toBe(1_000_000_000);
  expect(refreshed.at(-1)).toEqual({ outcome: 'updated', held: 0 });
});

it('reads a file', async () => {
  const path = join(dir, 'mine.json');
  writeFileSync(path, text);
  const { keeper, price } = instance(path);
  expect(await keeper.refresh()).toBe('updated');
  expect([price(), fetches]).toEqual([1_000_000, 0]);
});

it('forgets the list when there is to be none', async () => {
  await instance().keeper.refresh();
  const without = instance(null);
  expect(without.price()).toBeNull();
  expect(await without.keeper.refresh()).toBe('updated');
  expect(instance().price()).toBeNull();
});

it('asks once for those that ask while it is under way', async () => {
  const { keeper } = instance();
  await Promise.all([keeper.refresh(), keeper.refresh(), keeper.refresh()]);
  expect(fetches).toBe(2);
});

it('a copy that was damaged on disk is as none, and the next read mends it', async () => {
  const { keeper, prices } = instance();
  await keeper.refresh();
  writeFileSync(prices.path, '{"half');
  const { keeper: next, price } = instance();
  expect(price()).toBeNull();
  expect(await next.refresh()).toBe('updated');
  expect(price()).toBe(1_000_000);
  expect(readFileSync(prices.path, 'utf8')).toContain('my-model');
});
