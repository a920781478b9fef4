import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../../../tests/support/silent-log.ts';
import {
  startControlPlane,
  TEST_MASTER_KEY,
  type TestControlPlane,
} from '../../../../tests/support/test-control-plane.ts';
import { usageRecord } from '../../../../tests/support/usage-records.ts';
import type { Nano } from '../../../domain/money.ts';
import { readPosition } from '../../../storage/repositories/installation.ts';
import { ingestUsage } from '../../money/ingest.ts';

let control: TestControlPlane;
let own: { key: string; token: string };
let users: { key: string; token: string };
const day = (date: number, hour = 12) => Date.UTC(2026, 2, date, hour);
const call = (token: string, costNano: number, startedAtMs: number, more: object = {}) =>
  usageRecord({
    token,
    costNano: costNano as Nano,
    startedAtMs,
    endedAtMs: startedAtMs + 1_500,
    firstTokenAtMs: null,
    ...more,
  });

beforeAll(async () => {
  control = await startControlPlane();
  own = (await control.call('POST', '/key/generate', { body: {} })).json;
  users = (await control.call('POST', '/key/generate', { body: { user_id: 'u1' } })).json;
  const records = [
    call(own.token, 1, day(1, 0), { callId: 'my-call', providerId: 'chatcmpl-1', sessionId: 'session-1' }),
    call(own.token, 123_456_789, day(1, 23), { callId: 'my-call', modelGroup: 'other', model: 'openai/other' }),
    call(users.token, 2_000_000_000, day(2, 0), { userId: 'u1', tags: ['x'], status: 'failure', httpStatus: 500 }),
    call('litellm_proxy_master_key', 4, day(3, 23), { userId: 'default_user_id' }),
  ];
  const { installation } = await control.db.read(readPosition);
  const batch = { installation, gatewayId: 'i/0', region: 'eu', incarnation: 'x', from: 0, to: 4, records };
  await ingestUsage(batch, { db: control.db, log: silentLog });
});
afterAll(() => control.stop());

const logs = (query: string, key = TEST_MASTER_KEY) => control.call('GET', `/spend/logs?${query}`, { key });
const costs = async (query: string, key?: string) =>
  (await logs(query, key)).json.map((row: { spend: number }) => row.spend);

describe('GET /spend/logs', () => {
  it('answers rows under the column names of LiteLLM, newest first, exact to the nano-dollar', async () => {
    expect(await costs('')).toEqual([4e-9, 2, 0.123456789, 1e-9]);
    const { json } = await logs('request_id=chatcmpl-1');
    expect(json).toEqual([
      expect.objectContaining({
        call_type: 'acompletion',
        api_key: own.token,
        spend: 0.000000001,
        total_tokens: 15,
        prompt_tokens: 10,
        completion_tokens: 5,
        startTime: '2026-03-01T00:00:00.000Z',
        endTime: '2026-03-01T00:00:01.500Z',
        request_duration_ms: 1500,
        completionStartTime: null,
        model: 'openai/gpt-4o',
        model_group: 'gpt-4o',
        custom_llm_provider: 'openai',
        session_id: 'session-1',
        status: 'success',
        request_tags: [],
      }),
    ]);
    expect(json[0].metadata).toMatchObject({
      litellm_call_id: 'my-call',
      provider_request_id: 'chatcmpl-1',
      region: 'eu',
    });
  });

  it('finds a call by our id, by the id on the answer and by the id of the provider', async () => {
    const [row] = (await logs('request_id=chatcmpl-1')).json;
    expect(await costs(`request_id=${row.request_id}`)).toEqual([1e-9]);
    expect(await costs('request_id=my-call')).toEqual([0.123456789, 1e-9]);
    expect(await costs('request_id=nothing')).toEqual([]);
  });

  it('filters by key, hash, master key and user', async () => {
    expect(await costs(`api_key=${own.key}`)).toEqual([0.123456789, 1e-9]);
    expect(await costs(`api_key=${own.token}`)).toEqual([0.123456789, 1e-9]);
    expect(await costs(`api_key=${TEST_MASTER_KEY}`)).toEqual([4e-9]);
    expect(await costs('user_id=u1')).toEqual([2]);
  });

  it('includes both days of a range', async () => {
    expect(await costs('start_date=2026-03-01&end_date=2026-03-02&summarize=false')).toEqual([2, 0.123456789, 1e-9]);
    expect(await costs('start_date=2026-03-03&summarize=false')).toEqual([4e-9]);
    expect(await costs('end_date=2026-03-01%2023:59:59&summarize=false')).toEqual([0.123456789, 1e-9]);
  });

  it('sums per day when there are dates', async () => {
    const { json } = await logs('start_date=2026-03-01&end_date=2026-03-02');
    expect(json).toEqual([
      {
        startTime: '2026-03-01',
        spend: 0.12345679,
        users: { '': 0.12345679 },
        models: { 'openai/gpt-4o': 1e-9, 'openai/other': 0.123456789 },
        [own.token]: 0.12345679,
      },
      { startTime: '2026-03-02', spend: 2, users: { u1: 2 }, models: { 'openai/gpt-4o': 2 }, [users.token]: 2 },
    ]);
    const { json: filtered } = await logs('start_date=2026-03-01&request_id=chatcmpl-1');
    expect(filtered).toMatchObject([{ startTime: '2026-03-01', spend: 1e-9 }]);
    expect((await logs('start_date=2026-03-01&user_id=u1')).json).toHaveLength(1);
  });

  it('refuses what is no date', async () => {
    for (const date of ['yesterday', '2026-02-31', '01.03.2026', '0000-01-01']) {
      expect([date, (await logs(`start_date=${date}`)).status]).toEqual([date, 400]);
    }
  });

  it('shows a key its own calls and those of its user, and nothing else', async () => {
    expect(await costs('', own.key)).toEqual([0.123456789, 1e-9]);
    expect(await costs('', users.key)).toEqual([2]);
    expect(await costs('request_id=my-call', users.key)).toEqual([]);
    expect((await logs('start_date=2026-03-01', own.key)).json).toHaveLength(1);
    expect((await logs('user_id=u1', own.key)).status).toBe(403);
    expect((await logs(`api_key=${users.token}`, own.key)).status).toBe(403);
    expect(await costs(`api_key=${own.token}`, users.key)).toEqual([]);
  });

  it('agrees with the spend of the key', async () => {
    const { json } = await control.call('GET', `/key/info?key=${own.token}`);
    expect(json.info.spend).toBe(0.12345679);
    expect(createHash('sha256').update(own.key).digest('hex')).toBe(own.token);
  });
});
