import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type Claviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';

/** One metric: its name as scraped, its type, and its labels without the `le` of histograms. */
interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
}

const page = resolve(import.meta.dirname, '../../docs/reference/metrics.md');

let dir: string;
let upstream: UpstreamServer;
let claviger: Claviger;

beforeAll(async () => {
  dir = await temporaryDirectory();
  upstream = await startUpstream();
  const file = join(dir, 'config.yaml');
  const unpriced = { model: 'hosted_vllm/unpriced', api_base: `${upstream.url}/v1` };
  await writeFile(
    file,
    stringify({
      model_list: [
        { model_name: 'unpriced', litellm_params: unpriced },
        { model_name: 'busy', litellm_params: { model: 'fake/gpt?fail=429' } },
      ],
    }),
  );
  claviger = await startClaviger({ dir, args: ['--config', file], env: { CLAVIGER_DATA_DIR: join(dir, 'data') } });
});

afterAll(async () => {
  await claviger?.stop();
  await upstream?.stop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

test('the metrics page lists what a running instance exposes, with type and labels, and nothing else', async () => {
  const messages = [{ role: 'user', content: 'Hi' }];
  const call = (body: object) => claviger.api('POST', '/v1/chat/completions', { messages, ...body });
  // A metric shows its labels with its first series, so each of them is given a reason to have one.
  await claviger.generateKey();
  expect((await call({ model: 'unpriced' })).status).toBe(200);
  expect((await call({ model: 'unpriced', stream: true })).status).toBe(200);
  expect((await call({ model: 'busy' })).status).toBe(429);

  const exposed = await until('every metric has a series', async () => {
    const metrics = metricsIn((await claviger.api('GET', '/metrics')).text);
    return metrics.every(({ labels }) => labels !== null) ? (metrics as Metric[]) : null;
  });
  expect(exposed.length).toBeGreaterThan(20);
  expect(byName(metricsOfPage(readFileSync(page, 'utf8')))).toEqual(byName(exposed));
});

test('every metric on the page has a sentence', () => {
  const rows = readFileSync(page, 'utf8').match(/^\| `\w+` \| (?:counter|gauge|histogram) .*$/gm) ?? [];
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.filter((row) => !/\| [A-Z][^|]{10,}\. \|$/.test(row))).toEqual([]);
});

/** Families of a text exposition. `labels` null: no series yet. */
function metricsIn(text: string): (Omit<Metric, 'labels'> & { labels: readonly string[] | null })[] {
  return [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].map(([, name = '', type = '']) => {
    const sample = new RegExp(`^${name}${type === 'histogram' ? '_count' : ''}(?:\\{(.*)\\})? \\S+$`, 'm').exec(text);
    const labels = [...(sample?.[1] ?? '').matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)].map(([, label]) => String(label));
    return { name, type, labels: sample === null ? null : labels };
  });
}

/** Rows `name | type | labels | meaning`; a dash stands for no labels. */
function metricsOfPage(text: string): Metric[] {
  return [...text.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]*) \|/gm)].map(([, name = '', type = '', labels = '']) => ({
    name,
    type,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => String(label)),
  }));
}

function byName(metrics: readonly Metric[]): string[] {
  return metrics.map(({ name, type, labels }) => `${name} ${type} (${labels.join(', ')})`).sort();
}
