/**
 * LiteLLM's documented multi-region blocks, as they are printed: only host, user and password are replaced. No salt key, no Redis,
 * no configuration file (the model is made on the admin), and a master key that does not begin with `sk-`.
 */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Claviger } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';
import { type SharedDatabase, type SharedFleet, startSharedDatabase, startSharedFleet } from './shared-database.ts';

const MASTER_KEY = 'your-master-key';
const MONTH_MS = 30 * 86_400_000;

let database: SharedDatabase;
let upstream: UpstreamServer;
let fleet: SharedFleet;

beforeAll(async () => {
  [database, upstream] = await Promise.all([startSharedDatabase(), startUpstream()]);
  fleet = await startSharedFleet(database, MASTER_KEY);
  const model = {
    model_name: 'gpt-4',
    litellm_params: { model: 'openai/gpt-4', api_base: `${upstream.url}/v1`, api_key: 'key-of-the-provider' },
  };
  const made = await fleet.admin.api('POST', '/model/new', model);
  expect([made.status, made.text]).toEqual([200, expect.any(String)]);
  await Promise.all(
    [fleet.eu, fleet.us].map((region) =>
      until('the region has the model', async () => {
        const { data } = (await region.api('GET', '/models')).json();
        return data?.some(({ id }: { id: string }) => id === 'gpt-4') ? true : null;
      }),
    ),
  );
});
afterAll(async () => {
  await fleet?.stop();
  await upstream?.stop();
  await database?.stop();
});

/** The SDK as LiteLLM's documentation points it at a region. */
function sdk({ url }: Claviger, apiKey: string): OpenAI {
  return new OpenAI({ baseURL: url, apiKey, maxRetries: 0 });
}

const ask = (client: OpenAI) =>
  client.chat.completions.create({ model: 'gpt-4', messages: [{ role: 'user', content: 'Hello' }] });

const errorOf = (answer: { json(): ReturnType<typeof JSON.parse> }) =>
  answer.json().error?.message ?? answer.json().detail;

describe('the documented multi-region deployment', () => {
  it('makes a key on the admin that works in both regions at once, with the OpenAI SDK', async () => {
    const before = Date.now();
    const made = await fleet.admin.api('POST', '/key/generate', { duration: '30d' });
    expect([made.status, made.text]).toEqual([200, expect.any(String)]);
    const { key, expires } = made.json();

    const answers = await Promise.all([fleet.eu, fleet.us].map((region) => firstAnswer(region, key)));
    for (const { content, waitedMs } of answers) {
      expect(content).toEqual(expect.any(String));
      // A region is never told 401 of a key that exists, and learns of it by notification, or else by its next poll.
      expect(waitedMs).toBeLessThan(3_000);
    }

    expect(Date.parse(expires)).toBeGreaterThan(before + MONTH_MS - 5_000);
    expect(Date.parse(expires)).toBeLessThan(Date.now() + MONTH_MS + 5_000);
    const info = await fleet.admin.api('GET', `/key/info?key=${key}`);
    expect(info.json().info.expires).toBe(expires);
  });

  it('takes the master key in both regions, though it does not begin with sk-', async () => {
    for (const region of [fleet.eu, fleet.us]) {
      expect((await ask(sdk(region, MASTER_KEY))).choices[0]?.message.content).toEqual(expect.any(String));
      await expect(ask(sdk(region, 'not-the-master-key'))).rejects.toMatchObject({ status: 401 });
    }
  });

  it('answers administration on a worker, and completions on the admin, with 403', async () => {
    const key = await fleet.admin.generateKey();
    for (const region of [fleet.eu, fleet.us]) {
      for (const path of ['/key/list', '/key/info', '/user/list', '/team/list', '/model/info', '/spend/logs', '/ui/']) {
        const answer = await region.api('GET', path);
        expect([path, answer.status, errorOf(answer)]).toEqual([
          path,
          403,
          'Management routes are disabled for this instance.',
        ]);
      }
      expect((await region.api('POST', '/key/generate', {})).status).toBe(403);
    }
    const body = { model: 'gpt-4', messages: [{ role: 'user', content: 'Hello' }] };
    for (const path of ['/v1/chat/completions', '/chat/completions', '/openai/deployments/gpt-4/chat/completions']) {
      const answer = await fleet.admin.api('POST', path, body, key);
      expect([path, answer.status, errorOf(answer)]).toEqual([
        path,
        403,
        'LLM API routes are disabled for this instance.',
      ]);
    }
    expect((await fleet.admin.api('GET', '/v1/models', undefined, key)).status).toBe(200);
  });

  it('says at start what would be better, and starts', async () => {
    const warnings = /LITELLM_MASTER_KEY does not begin with sk-[\s\S]*LITELLM_SALT_KEY is not set/;
    for (const instance of [fleet.admin, fleet.eu, fleet.us]) expect(instance.logs()).toMatch(warnings);
  });

  it('brings what both regions used into one spend log', async () => {
    const key = await fleet.admin.generateKey();
    for (const region of [fleet.eu, fleet.us]) await firstAnswer(region, key);
    const regions = await until('both calls are in the log', async () => {
      const rows = (await fleet.admin.api('GET', `/spend/logs?api_key=${key}`)).json();
      return rows.length === 2 ? rows : null;
    });
    expect(regions.every((row: { status: string }) => row.status === 'success')).toBe(true);
  });

  it('shows metrics of a worker to who has a key, and to nobody else', async () => {
    expect((await fleet.eu.api('GET', '/metrics', undefined, null)).status).toBe(401);
    const answer = await fleet.eu.api('GET', '/metrics');
    expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('claviger_config_rev')]);
  });
});

/** Until the region answers; whatever it says meanwhile must be that it does not know yet. */
async function firstAnswer(region: Claviger, key: string): Promise<{ content: unknown; waitedMs: number }> {
  const client = sdk(region, key);
  const startedAt = performance.now();
  for (;;) {
    try {
      const answer = await ask(client);
      return { content: answer.choices[0]?.message.content, waitedMs: performance.now() - startedAt };
    } catch (error) {
      expect((error as { status?: number }).status).toBe(503);
      if (performance.now() - startedAt > 10_000) throw error;
    }
  }
}
