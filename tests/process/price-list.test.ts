import { rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Claviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';

const GPT = { litellm_provider: 'openai', input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 };

let dir: string;
let upstream: UpstreamServer;
let claviger: Claviger | null = null;
let list: Server;
let listUrl: string;
let models: object;

beforeAll(async () => {
  dir = await temporaryDirectory();
  upstream = await startUpstream();
  models = { 'openai/own-model': GPT };
  list = createServer((_request, response) => response.end(JSON.stringify(models)));
  await new Promise<void>((resolve) => list.listen(0, '127.0.0.1', resolve));
  listUrl = `http://127.0.0.1:${(list.address() as AddressInfo).port}/list.json`;
  const params = { model: 'openai/own-model', api_base: `${upstream.url}/v1`, api_key: 'sk-up' };
  await writeFile(join(dir, 'config.yaml'), stringify({ model_list: [{ model_name: 'own', litellm_params: params }] }));
});
afterAll(async () => {
  await claviger?.stop();
  list.close();
  await upstream?.stop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

const start = () =>
  startClaviger({
    dir,
    args: ['--config', join(dir, 'config.yaml')],
    env: {
      CLAVIGER_DATA_DIR: join(dir, 'data'),
      NUM_WORKERS: '2',
      LITELLM_MODEL_COST_MAP_URL: listUrl,
    },
  });

/** What a call costs; null without a price. */
async function costOf(running: Claviger): Promise<number | null> {
  const body = { model: 'own', messages: [{ role: 'user', content: 'Hi' }] };
  const sent = await running.api('POST', '/v1/chat/completions', body);
  expect(sent.status).toBe(200);
  const header = sent.headers.get('x-litellm-response-cost');
  return header === null ? null : Number(header);
}

it('prices calls by the list at its address, reads it again when asked, and starts without the address', async () => {
  claviger = await start();
  const first = await until('the list is in force', () => costOf(claviger!), 15_000);
  expect(first).toBeGreaterThan(0);

  // Twice the price in all gateway processes, over the control process.
  models = { 'openai/own-model': { ...GPT, input_cost_per_token: 2e-6, output_cost_per_token: 4e-6 } };
  await until('the instance is known to the fleet, and asked', async () => {
    const { gateways } = (await claviger!.api('POST', '/reload/model_cost_map')).json();
    return gateways.length === 1 ? true : null;
  });
  await until(
    'both gateway processes have the new price',
    async () => {
      const costs = await Promise.all(Array.from({ length: 8 }, () => costOf(claviger!)));
      return costs.every((cost) => cost === first * 2) || null;
    },
    15_000,
  );
  const shown = (await claviger.api('GET', '/model/cost_map')).json();
  expect(shown['openai/gpt-4o']).toMatchObject({ input_cost_per_token: 2.5e-6 });

  await claviger.stop();
  await new Promise<void>((resolve) => list.close(() => resolve()));
  claviger = await start();
  expect(await costOf(claviger)).toBe(first * 2);
  await claviger.waitForLog(/The price list can not be read/);
}, 90_000);
