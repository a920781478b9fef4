import { afterEach, expect, it } from 'vitest';
import { freePort } from '../../tests/support/processes.ts';
import { silentLog } from '../../tests/support/silent-log.ts';
import { listenForMetrics } from './metrics-listener.ts';

let close: (() => Promise<void>) | null = null;
afterEach(async () => {
  await close?.();
  close = null;
});

async function listen(text: () => Promise<string>): Promise<string> {
  const port = await freePort();
  close = await listenForMetrics({ host: '127.0.0.1', port, text, log: silentLog });
  return `http://127.0.0.1:${port}`;
}

it('answers with the metrics, without asking for a key', async () => {
  const url = await listen(async () => 'claviger_x 1\n');
  for (const path of ['/metrics', '/', '/metrics?name[]=x']) {
    const answer = await fetch(`${url}${path}`);
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
      'claviger_x 1\n',
    ]);
  }
});

it('serves nothing else', async () => {
  const url = await listen(async () => 'claviger_x 1\n');
  expect((await fetch(`${url}/key/list`)).status).toBe(404);
  expect((await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: '{}' })).status).toBe(405);
});

it('says 500 when they can not be collected, and goes on', async () => {
  let fails = true;
  const url = await listen(async () => {
    if (fails) throw new Error('no');
    return 'claviger_x 1\n';
  });
  expect((await fetch(`${url}/metrics`)).status).toBe(500);
  fails = false;
  expect((await fetch(`${url}/metrics`)).status).toBe(200);
});

it('names the variable when the port is taken', async () => {
  const url = await listen(async () => '');
  const port = Number(new URL(url).port);
  const second = listenForMetrics({ host: '127.0.0.1', port, text: async () => '', log: silentLog });
  await expect(second).rejects.toThrow(`Port ${port} (PROMETHEUS_METRICS_PORT) is in use by another program.`);
});
