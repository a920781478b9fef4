import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageVersion } from '../util/package-version.ts';
import type { Check } from './doctor/check.ts';
import { runCli } from './run-cli.ts';
import { SERVE_OPTIONS, serveFlags } from './serve-options.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let out = '';
  let err = '';
  const code = await runCli(args, {
    env,
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

describe('the command line', () => {
  it.each([[['version']], [['--version']], [['-v']]])('%j prints the version', async (args) => {
    expect(await run(args)).toEqual({ code: 0, out: `${packageVersion()}\n`, err: '' });
  });

  it('shows help for the program and for serve with all options', async () => {
    expect((await run(['--help'])).out).toMatch(/serve.*doctor.*migrate.*version/s);
    const { out, code } = await run(['serve', '--help']);
    expect(code).toBe(0);
    for (const { flags } of SERVE_OPTIONS) expect(out).toContain(flags);
  });

  it.each([
    [['serve', '--prot', '1'], "claviger: unknown option '--prot'. Did you mean --port? Run"],
    [['--prot', '1'], "claviger: unknown option '--prot'. Did you mean --port? Run"],
    [['serve', '--port'], "claviger: option '--port <number>' argument missing. Run"],
    [['doctr'], 'claviger: "doctr" is not a command. Did you mean doctor? Run'],
    [['quux'], 'claviger: "quux" is not a command. Run'],
  ])('answers %j with a sentence', async (args, sentence) => {
    const { code, out, err } = await run(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(sentence);
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  it('turns options into settings', () => {
    expect(serveFlags({ config: 'c', port: '1', host: '::', num_workers: '2', debug: true })).toEqual({
      config: 'c',
      port: '1',
      host: '::',
      numWorkers: '2',
      sslCertfilePath: undefined,
      sslKeyfilePath: undefined,
      debug: true,
    });
    expect(serveFlags({ detailed_debug: true }).debug).toBe(true);
    expect(serveFlags({}).debug).toBe(false);
  });

  it('gives a mistake in the settings as one sentence, also with dashes in place of underscores', async () => {
    const { code, err } = await run(['migrate', '--config=gone.yaml']);
    expect(code).toBe(1);
    expect(err).toBe(
      `claviger: ${join(cwd, 'gone.yaml')}: the file does not exist. Give the path of a config.yaml with --config or CONFIG_FILE_PATH.\n`,
    );
    expect((await run(['doctor', '--j-son'])).err).toContain("unknown option '--j_son'");
  });
});

describe('migrate', () => {
  it('says that the embedded database needs no migration', async () => {
    const { code, err } = await run(['migrate']);
    expect(code).toBe(1);
    expect(err).toContain('DATABASE_URL is not set');
  });

  it('fails with a sentence and without the password when the database is away', async () => {
    const { code, err } = await run(['migrate'], { DATABASE_URL: 'postgresql://u:hunter22@127.0.0.1:1/d' });
    expect(code).toBe(1);
    expect(err).toMatch(/^claviger: The database can not be reached/);
    expect(err).not.toContain('hunter22');
  });
});

describe('doctor', () => {
  const json = async (args: readonly string[] = [], env: Record<string, string> = {}) => {
    const { code, out } = await run(['doctor', '--json', ...args], env);
    return { code, checks: JSON.parse(out) as Check[] };
  };

  it('finds nothing wrong where "claviger serve" would work, and changes nothing', async () => {
    const { code, checks } = await json();
    expect(checks.filter(({ status }) => status === 'fail')).toEqual([]);
    expect(checks.map(({ name }) => name)).toEqual(['configuration', 'data directory', 'disk space', 'database']);
    expect(code).toBe(0);
    expect(readdirSync(cwd)).toEqual([]);
  });

  it('prints a line per check and what to do, and exits with 1 when one fails', async () => {
    const { code, out } = await run(['doctor'], {
      DATABASE_URL: 'postgresql://u:hunter22@127.0.0.1:1/d',
      LITELLM_MASTER_KEY: 'sk-m',
    });
    expect(code).toBe(1);
    expect(out).toMatch(/^ok {4}configuration/m);
    expect(out).toMatch(/^warn {2}configuration.*LITELLM_SALT_KEY is not set/m);
    expect(out).toMatch(/^fail {2}database .*\n +Check host, port/m);
    expect(out).toMatch(/\n\d+ ok, \d+ to look at, \d+ failed\n$/);
    expect(out).not.toContain('hunter22');
  });

  it('writes a bundle for whoever helps, with everything but secrets', async () => {
    writeFileSync(
      join(cwd, 'c.yaml'),
      'model_list: [{model_name: a, litellm_params: {model: openai/a, api_key: the-provider-key, api_base: "http://127.0.0.1:1"}}]\n',
    );
    mkdirSync(join(cwd, 'data', 'gateway-0'), { recursive: true });
    writeFileSync(join(cwd, 'data', 'gateway-0', 'usage.log'), 'x');
    writeFileSync(join(cwd, 'data', 'postgres-18.log'), 'first line\nFATAL: role sk-abcdefgh1234 is not there\n');
    const { err } = await run(['doctor', '--config', 'c.yaml', '--bundle', 'bundle.json'], {
      DATABASE_URL: 'postgresql://u:hunter22@127.0.0.1:1/d',
      LITELLM_MASTER_KEY: 'sk-master-secret',
      LITELLM_SALT_KEY: 'salt-secret',
      CLAVIGER_DATA_DIR: join(cwd, 'data'),
      SOMETHING_ELSE: 'not-ours',
    });
    expect(err).toContain(join(cwd, 'bundle.json'));
    expect(statSync(join(cwd, 'bundle.json')).mode & 0o777).toBe(0o600);
    const text = readFileSync(join(cwd, 'bundle.json'), 'utf8');
    for (const secret of ['hunter22', 'master-secret', 'salt-secret', 'the-provider-key', 'not-ours', 'abcdefgh1234']) {
      expect(text).not.toContain(secret);
    }
    const bundle = JSON.parse(text);
    expect(bundle.checks).toContainEqual(expect.objectContaining({ name: 'database', status: 'fail' }));
    expect(bundle.settings).toMatchObject({ role: 'standalone', region: 'default' });
    expect(bundle.config.models[0].modelName).toBe('a');
    expect(bundle.environment).toMatchObject({ LITELLM_MASTER_KEY: '[set]' });
    expect(bundle.dataDirectory.files).toContainEqual(expect.stringMatching(/^0644 1 \S+ gateway-0\/usage\.log$/));
    expect(bundle.postgresLog[0]).toBe('first line');
  });

  it('stops at settings that can not be started with', async () => {
    const { code, checks } = await json([], { PORT: 'x' });
    expect(code).toBe(1);
    expect(checks).toMatchObject([{ name: 'configuration', status: 'fail', todo: 'Nothing else was checked.' }]);
  });

  it('tells which providers can be connected to and which have no key', async () => {
    const server = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    writeFileSync(
      join(cwd, 'c.yaml'),
      `model_list:
  - {model_name: a, litellm_params: {model: openai/a, api_base: "http://127.0.0.1:${port}/v1", api_key: k}}
  - {model_name: b, litellm_params: {model: hosted_vllm/b, api_base: "http://127.0.0.1:1/v1"}}
  - {model_name: c, litellm_params: {model: fake/gpt}}
general_settings: {mastr_key: x}
`,
    );
    const { code, checks } = await json(['--config', 'c.yaml']);
    server.close();
    const byName = new Map(checks.map((check) => [check.name, check]));
    expect(byName.get(`provider http://127.0.0.1:${port}`)).toMatchObject({ status: 'ok' });
    expect(byName.get('provider http://127.0.0.1:1')).toMatchObject({
      status: 'fail',
      message: 'it refuses connections',
    });
    expect(byName.get('provider keys')).toMatchObject({
      status: 'warn',
      message: '1 of 2 deployments have none: hosted_vllm/b',
    });
    expect(
      checks.some(({ message, status }) => status === 'warn' && message.includes('Did you mean master_key?')),
    ).toBe(true);
    expect(code).toBe(1);
  });
});
