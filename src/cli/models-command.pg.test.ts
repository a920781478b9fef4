import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startControlPlane, TEST_MASTER_KEY, type TestControlPlane } from '../../tests/support/test-control-plane.ts';
import { loadConfigFile } from '../settings/config-yaml.ts';
import { modelsOfFile } from './models/models-of-file.ts';
import { runCli } from './run-cli.ts';

let control: TestControlPlane;
let server: Server;
let url: string;
let cwd: string;

beforeAll(async () => {
  control = await startControlPlane();
  server = createServer(getRequestListener(control.plane.app.fetch as never) as RequestListener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  await control?.stop();
});
beforeEach(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'cli-models-'));
  for (const { model_info } of await models())
    await control.call('POST', '/model/delete', { body: { id: model_info.id } });
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const models = async () => (await control.call('GET', '/model/info')).json.data;
const write = (text: string) => writeFileSync(join(cwd, 'config.yaml'), text);

async function apply(options: readonly string[] = [], env: Record<string, string> = {}) {
  let out = '';
  let err = '';
  const code = await runCli(['models', 'apply', 'config.yaml', ...options], {
    env: { CLAVIGER_URL: url, LITELLM_MASTER_KEY: TEST_MASTER_KEY, ...env },
    cwd,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}

const FILE = `
environment_variables: {OWN_BASE: 'https://own.test/v1'}
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/EU_KEY, rpm: os.environ/RPM}
    model_info: {regions: [eu]}
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_base: os.environ/OWN_BASE, api_key: sk-written-in-the-file, rpm: "20"}
    model_info: {id: written}
  - model_name: many
    litellm_params: {model: openai/gpt-4o, api_base: 'https://m.test/v1', organization: [one, two]}
`;

describe('claviger models apply', () => {
  it('creates what is missing, and changes nothing the second time, wherever it is run', async () => {
    write(FILE);
    const first = await apply();
    expect(first).toMatchObject({ code: 0, err: '' });
    expect(first.out).toMatch(
      /^MODEL NAME {2}ID {2,}RESULT\ngpt {9}[0-9a-f]{64} {2}created\ngpt {9}written +created\n/,
    );
    expect(first.out).toMatch(/\n\n4 created\.\n$/);
    const names = (await models()).map((model: { model_name: string }) => model.model_name);
    expect(names.sort()).toEqual(['gpt', 'gpt', 'many', 'many']);
    const again = await apply([], { EU_KEY: 'sk-set-only-here-0123', RPM: '10' });
    expect(again).toMatchObject({ code: 0, out: expect.stringMatching(/\n\n4 unchanged\.\n$/) });
  });

  it('keeps references as references, but not those to variables of the file itself, and shows no secret', async () => {
    write(FILE);
    const { out } = await apply([], { EU_KEY: 'sk-value-of-the-variable' });
    const params = (await models()).map((model: { litellm_params: object }) => model.litellm_params);
    expect(params).toContainEqual({ model: 'openai/gpt-4o', api_key: 'os.environ/EU_KEY', rpm: 'os.environ/RPM' });
    expect(params).toContainEqual({
      model: 'openai/gpt-4o',
      api_base: 'https://own.test/v1',
      api_key: 'sk-w****file',
      rpm: 20,
    });
    expect(params).toContainEqual({ model: 'openai/gpt-4o', api_base: 'https://m.test/v1', organization: 'two' });
    expect(out + JSON.stringify(params)).not.toMatch(/value-of-the-variable|sk-written-in/);
  });

  it('has the ids by which an instance with the same file knows its deployments', () => {
    write(FILE);
    const ids = (env: Record<string, string>) =>
      modelsOfFile(loadConfigFile(join(cwd, 'config.yaml'), env).source).map(({ id }) => id);
    expect(ids({})).toEqual(ids({ EU_KEY: 'sk-another-key-0123', RPM: '5' }));
    expect(new Set(ids({})).size).toBe(4);
  });

  it('updates what differs, secrets included, and takes away what the file has no more', async () => {
    const file = (params: string) =>
      write(`model_list: [{model_name: m, litellm_params: {model: fake/x, ${params}}, model_info: {id: a}}]`);
    file('api_key: sk-the-first-of-them, rpm: 5');
    await apply();
    file('api_key: sk-the-other-of-them, rpm: 5');
    expect((await apply()).out).toMatch(/1 updated\./);
    file('api_key: sk-the-other-of-them');
    expect((await apply()).out).toMatch(/1 updated\./);
    expect((await models())[0].litellm_params).toEqual({ model: 'fake/x', api_key: 'sk-t****them' });
    expect((await apply()).out).toMatch(/1 unchanged\./);
  });

  it('deletes the others only with --prune, and changes nothing with --dry-run', async () => {
    write(
      'model_list: [{model_name: a, litellm_params: {model: fake/a}, model_info: {id: a}}, {model_name: b, litellm_params: {model: fake/b}, model_info: {id: b}}]',
    );
    await apply();
    write(
      'model_list: [{model_name: a, litellm_params: {model: fake/a2}, model_info: {id: a}}, {model_name: c, litellm_params: {model: fake/c}, model_info: {id: c}}]',
    );
    const dry = await apply(['--dry-run', '--prune']);
    expect(dry).toMatchObject({ code: 0 });
    expect(dry.out).toMatch(/1 created, 1 updated, 1 deleted\. This was a dry run: nothing has been changed\./);
    expect((await models()).map((model: { model_name: string }) => model.model_name)).toEqual(['a', 'b']);
    expect((await apply()).out).toMatch(/1 created, 1 updated\.\n/);
    expect((await apply(['--prune'])).out).toMatch(/\nb +b +deleted\n\n2 unchanged, 1 deleted\.\n$/);
    expect((await models()).map((model: { model_name: string }) => model.model_name)).toEqual(['a', 'c']);
  });

  it('is 1 when one fails, with its reason; the others are done, and nothing is deleted', async () => {
    write('model_list: [{model_name: old, litellm_params: {model: fake/a}, model_info: {id: old}}]');
    await apply();
    write(
      'model_list: [{model_name: bad, litellm_params: {model: anthropic/x}, model_info: {id: bad}}, {model_name: good, litellm_params: {model: fake/a}, model_info: {id: good}}]',
    );
    const { code, out } = await apply(['--prune']);
    expect(code).toBe(1);
    expect(out).toMatch(
      /bad +bad +failed: Model bad \(bad\) of the database can not be used: provider anthropic is not served/,
    );
    expect(out).toMatch(/old +old +kept: not deleted, because another model failed\n\n1 created, 1 kept, 1 failed\./);
  });

  it.each([
    [{ LITELLM_MASTER_KEY: '' }, [], /There is no key to call with: give --key, or set LITELLM_MASTER_KEY/],
    [{}, ['--key', 'sk-wrong-0123456789'], /The models of http:\S+ can not be listed: .*Invalid proxy server token/],
    [{ CLAVIGER_URL: 'http://[::1]:65533' }, [], /:65533 does not answer \(ECONNREFUSED\)/],
    [{ CLAVIGER_URL: 'nowhere' }, [], /must begin with http/],
    [{}, ['--url', 'ftp://x'], /must begin with http/],
  ])('says what to do with %j %j', async (env, options, sentence) => {
    write('model_list: []');
    const { code, err, out } = await apply(options, env);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(sentence);
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  it('says where a file is wrong', async () => {
    write('model_list:\n  - model_name: a\n');
    expect((await apply()).err).toMatch(/config\.yaml.*2.*litellm_params/);
  });
});
