import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { runClaviger } from '../support/processes.ts';
import { provideProgram, requirements } from '../support/requirements.ts';
import { createTestDatabase } from '../support/test-database.ts';
import { until } from '../support/until.ts';
import { type Checkout, makeCheckout, type StartedProgram } from './checkout.ts';

const PATH_LENGTH = 200;
/** A line of a stack trace. */
const STACK = /^\s+at .*[:(]/m;

let checkout: Checkout;
beforeAll(() => {
  checkout = makeCheckout(PATH_LENGTH);
});
afterAll(() => checkout?.[Symbol.asyncDispose]());

describe(`the start command without any setting, from a path of ${PATH_LENGTH} characters with spaces`, () => {
  let started: StartedProgram;
  let url: string;
  let dataDir: string;
  let port: number;

  beforeAll(async () => {
    expect(checkout.path).toHaveLength(PATH_LENGTH);
    port = await freePort();
    dataDir = join(checkout.path, '.claviger');
    started = checkout.start(['--port', `${port}`], { LITELLM_LICENSE: 'a-licence-of-somebody' });
    url = await started.serving();
  });

  it('prints address, master key, data directory and a command', () => {
    const masterKey = readFileSync(join(dataDir, 'master-key'), 'utf8').trim();
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect(started.stdout).toContain(
      [
        `Claviger is serving on ${url}`,
        `  master key:     ${masterKey}`,
        `  data directory: ${dataDir}`,
        '  try:',
        `    curl ${url}/v1/chat/completions \\`,
        `      -H 'Authorization: Bearer ${masterKey}' -H 'Content-Type: application/json' \\`,
        '      -d \'{"model":"fake-gpt","messages":[{"role":"user","content":"Hello!"}]}\'',
        '',
      ].join('\n'),
    );
    expect(masterKey).toMatch(/^sk-[A-Za-z0-9_-]{32}$/);
    // Once, in the banner: logs are kept and read by others.
    expect(started.output.split(masterKey)).toHaveLength(3);
    expect(started.output).not.toMatch(STACK);
  });

  it('whose pasted command gets an answer', () => {
    const [, command] = /try:\n\s*(curl (?:.*\\\n)*.*)/.exec(started.stdout) ?? [];
    const path = `${dirname(provideProgram(requirements.curl))}:${process.env.PATH}`;
    const pasted = spawnSync('sh', ['-c', command ?? ''], { encoding: 'utf8', env: { PATH: path }, timeout: 20_000 });
    expect(JSON.parse(pasted.stdout), `${command}\n${pasted.stderr}`).toMatchObject({
      object: 'chat.completion',
      model: expect.any(String),
      choices: [{ message: { role: 'assistant', content: expect.stringMatching(/./) } }],
    });
  });

  it('keeps keys that only its account can read, and nothing in the data directory that others may write', () => {
    for (const name of ['master-key', 'salt-key']) expect(modeOf(join(dataDir, name))).toBe(0o600);
    expect(modeOf(dataDir) & 0o066).toBe(0);
    for (const entry of readdirSync(dataDir, { withFileTypes: true })) {
      if (entry.isSymbolicLink()) continue;
      expect({ [entry.name]: modeOf(join(dataDir, entry.name)) & 0o022 }).toEqual({ [entry.name]: 0 });
    }
    for (const name of readdirSync(join(dataDir, 'gateway-0')))
      expect({ [name]: modeOf(join(dataDir, 'gateway-0', name)) & 0o077 }).toEqual({ [name]: 0 });
  });

  it('says once that a licence is ignored, and not which', () => {
    const lines = started.output.split('\n').filter((line) => line.includes('LITELLM_LICENSE'));
    expect(lines).toEqual([expect.stringMatching(/LITELLM_LICENSE is ignored: nothing in Claviger needs a licence\./)]);
    expect(started.output).not.toContain('a-licence-of-somebody');
  });

  it('refuses a second start on the same data directory with one sentence', async () => {
    const second = checkout.start(['--port', `${await freePort()}`]);
    expect(await second.exited).toBe(1);
    expect(second.stderr.trim().split('\n')).toEqual([
      `claviger: Another Claviger (process ${started.pid}) is running on the data directory ${dataDir}; end it, or choose another directory with CLAVIGER_DATA_DIR.`,
    ]);
    expect((await fetch(`${url}/health/liveliness`)).status).toBe(200);
  });

  it('refuses a port that is taken with one sentence', async () => {
    const second = checkout.start(['--port', `${port}`], { CLAVIGER_DATA_DIR: join(checkout.path, 'another') });
    expect(await second.exited).toBe(1);
    expect(second.stderr.trim().split('\n')).toEqual([
      expect.stringMatching(new RegExp(`Port ${port} is in use.*--port`)),
    ]);
    expect(second.alive()).toEqual([]);
  });

  it('ends at SIGTERM with exit code 0 and leaves no process, and starts again with the same keys and data', async () => {
    const masterKey = readFileSync(join(dataDir, 'master-key'), 'utf8').trim();
    const made = await json(`${url}/key/generate`, masterKey, {});
    const commands = started.processes().map(({ command }) => command);
    for (const part of ['gateway-process', 'control-process', 'postgres']) expect(commands.join('\n')).toContain(part);
    expect(await started.end()).toBe(0);
    expect(started.alive()).toEqual([]);
    await expect(fetch(`${url}/health/liveliness`)).rejects.toThrow();
    expect(readdirSync(dataDir).filter((name) => name.startsWith('lock-'))).toEqual([]);

    started = checkout.start(['--port', `${port}`]);
    await started.serving();
    expect(started.output).not.toMatch(/Installing|Building/);
    expect(started.stdout).toContain(masterKey);
    const chat = { model: 'fake-gpt', messages: [{ role: 'user', content: 'x' }] };
    expect(await json(`${url}/v1/chat/completions`, made.key, chat)).toHaveProperty('choices');
    expect(await started.end('SIGINT')).toBe(0);
    expect(started.alive()).toEqual([]);
  });
});

describe('the start command with --config, --port and --num_workers', () => {
  const master = 'sk-master-of-the-commands';
  let config: string;
  let started: StartedProgram;
  let url: string;

  const fake = (...names: string[]): string =>
    `model_list:\n${names.map((name) => `  - {model_name: ${name}, litellm_params: {model: fake/${name}}}\n`).join('')}`;

  beforeAll(async () => {
    const directory = checkout.directory('configured');
    config = join(directory, 'config.yaml');
    writeFileSync(config, `${fake('first', 'second')}litellm_setings: {drop_params: true}\n`);
    const port = await freePort();
    // A relative path starts where the command is given.
    started = checkout.start(
      ['--config', join('..', 'configured', 'config.yaml'), '--port', `${port}`, '--num_workers', '2'],
      { LITELLM_MASTER_KEY: master, CLAVIGER_DATA_DIR: join(directory, 'data') },
    );
    url = await started.serving();
    expect(url).toBe(`http://127.0.0.1:${port}`);
  });

  it('serves the models of the file, and its example calls the first of them', async () => {
    expect(await models()).toEqual(['first', 'second']);
    expect(started.stdout).toContain('"model":"first"');
  });

  it('does not print a master key that was given to it', () => {
    expect(started.stdout).toContain('as set in LITELLM_MASTER_KEY');
    expect(started.output).not.toContain(master);
  });

  it('has so many gateway processes', () => {
    expect(started.processes().filter(({ command }) => command.includes('gateway-process'))).toHaveLength(2);
  });

  it('warns of a key that it does not know, with its path and the nearest name', () => {
    expect(started.output).toMatch(/config\.yaml.*litellm_setings.*litellm_settings/);
  });

  it('takes a changed file at SIGHUP in every process, and keeps the old one when the new one is wrong', async () => {
    const pids = gatewayPids();
    await reload(fake('first', 'third'));
    await untilModels(['first', 'third']);

    await reload('model_list:\n  - model_name: 5\n    litellm_params: [wrong]\n');
    const [line] = await started.printed(/.*previous configuration stays in force.*/);
    expect(line).toMatch(/config\.yaml:3: /);
    await reload('model_list: [}\n');
    await started.printed(/(?:[\s\S]*previous configuration stays in force){4}/);
    expect(await models()).toEqual(['first', 'third']);
    expect(started.output).not.toMatch(STACK);

    await reload(fake('fourth'));
    await untilModels(['fourth']);
    expect(gatewayPids()).toEqual(pids);
  });

  it('finishes the answers under way when it is told to end', async () => {
    const answer = fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${master}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'fourth',
        stream: true,
        messages: [{ role: 'user', content: 'x' }],
        fake: { chunks: 10, tokens: 10, chunk_ms: 100 },
      }),
    });
    const response = await answer;
    const ended = started.end();
    expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/);
    expect(await ended).toBe(0);
    expect(started.alive()).toEqual([]);
  });

  async function reload(text: string): Promise<void> {
    writeFileSync(config, text);
    started.signal('SIGHUP');
  }

  /** As several new connections see them, so that each process is asked. */
  async function untilModels(expected: string[]): Promise<void> {
    await until(`both processes serve ${expected}`, async () => {
      for (let call = 0; call < 4; call++) if (`${await models()}` !== `${expected}`) return null;
      return true;
    });
  }

  async function models(): Promise<string[]> {
    const { data } = await json(`${url}/v1/models`, master);
    return data.map(({ id }: { id: string }) => id);
  }

  function gatewayPids(): number[] {
    const gateways = started.processes().filter(({ command }) => command.includes('gateway-process'));
    return gateways.map(({ pid }) => pid).sort();
  }
});

describe('a start that can not be', () => {
  const refused = async (args: readonly string[], env: Record<string, string> = {}) => {
    const program = checkout.start(args, { CLAVIGER_DATA_DIR: join(checkout.path, 'never-made'), ...env });
    const code = await program.exited;
    expect(program.output).not.toMatch(STACK);
    expect(program.alive()).toEqual([]);
    return { code, text: program.stderr.trim() };
  };

  it('says so in one sentence: options, port, files', async () => {
    const directory = checkout.directory('refused');
    const wrong = join(directory, 'wrong.yaml');
    writeFileSync(
      wrong,
      'model_list:\n  - model_name: a\n    litellm_params: {model: fake/a}\nrouter_settings:\n  num_retries: many\n',
    );
    const cases: [readonly string[], number, RegExp][] = [
      [['--prot', '1'], 2, /^claviger: .*--prot.*--port/],
      [['--port', 'http'], 1, /^claviger: The port \(--port, PORT\) .*/],
      [['--num_workers', '0'], 1, /^claviger: The number of gateway processes .*/],
      [['--config', join(directory, 'missing.yaml')], 1, /^claviger: .*missing\.yaml/],
      [['--config', wrong], 1, /^claviger: .*wrong\.yaml:5: router_settings\.num_retries.*/],
    ];
    for (const [args, code, sentence] of cases) {
      const seen = await refused(args);
      expect([args, seen.code, seen.text.split('\n').length]).toEqual([args, code, 1]);
      expect(seen.text).toMatch(sentence);
    }
  });

  it('names the variable that is missing with DATABASE_URL', async () => {
    const { code, text } = await refused([], { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' });
    expect(code).toBe(1);
    expect(text).toContain('LITELLM_MASTER_KEY is not set');
  });

  it('with the data directory of another installation names both, and mixes nothing', async () => {
    const directory = checkout.directory('installations');
    const databases = [await createTestDatabase(), await createTestDatabase()];
    const start = async (index: number) =>
      checkout.start(['--port', `${await freePort()}`], {
        DATABASE_URL: databases[index]!.url,
        DIRECT_URL: databases[index]!.directUrl,
        LITELLM_MASTER_KEY: 'sk-the-same-on-both',
        LITELLM_SALT_KEY: 'the-same-salt-on-both',
        CLAVIGER_DATA_DIR: join(directory, 'data'),
      });
    try {
      const first = await start(0);
      const url = await first.serving();
      const made = await json(`${url}/key/generate`, 'sk-the-same-on-both', {});
      expect(made.key).toMatch(/^sk-c1/);
      expect(await first.end()).toBe(0);

      const refusal = async () => {
        const second = await start(1);
        expect(await second.exited).toBe(1);
        const [one, two] = await Promise.all(databases.map(({ directUrl }) => installationOf(directUrl)));
        expect(one).not.toBe(two);
        expect(second.stderr).toContain(one);
        expect(second.stderr).toContain(two);
        expect(second.stderr).toMatch(/move its data directory away/);
        expect(second.output).not.toMatch(STACK);
        expect(second.alive()).toEqual([]);
      };
      await refusal();
      // Also when all that is left of the other installation is its usage log.
      const slotDir = join(directory, 'data', 'gateway-0');
      for (const name of readdirSync(slotDir)) if (/snap|delta/.test(name)) rmSync(join(slotDir, name));
      await refusal();

      // Nothing was harmed: with its own database it goes on.
      const third = await start(0);
      const info = await fetch(`${await third.serving()}/key/info`, {
        headers: { authorization: `Bearer ${made.key}` },
      });
      expect(info.status).toBe(200);
      expect(await third.end()).toBe(0);
    } finally {
      for (const database of databases) await database.drop();
    }
  }, 60_000);
});

describe('claviger doctor', () => {
  it('finds everything in order before a first start, and changes nothing', async () => {
    const directory = checkout.directory('doctor');
    const env = { CLAVIGER_DATA_DIR: join(directory, 'data') };
    const { code, stdout } = await runClaviger(['doctor'], { env, cwd: directory });
    expect([code, stdout]).toEqual([0, expect.stringMatching(/\n\n\d+ ok, \d+ to look at, 0 failed\n$/)]);
    for (const name of ['configuration', 'data directory', 'database'])
      expect(stdout).toMatch(new RegExp(`^ok\\s+${name}`, 'm'));
    expect(readdirSync(directory)).toEqual([]);
  });

  it('says what is wrong and what to do: provider, database, and a file with its line', async () => {
    const directory = checkout.directory('doctor-fails');
    const config = join(directory, 'config.yaml');
    const closed = await freePort();
    writeFileSync(
      config,
      `model_list:\n  - model_name: a\n    litellm_params: {model: openai/a, api_base: 'http://127.0.0.1:${closed}/v1', api_key: sk-provider-secret-0123456789}\n`,
    );
    const env = {
      CLAVIGER_DATA_DIR: join(directory, 'data'),
      LITELLM_MASTER_KEY: 'sk-master-of-the-doctor',
      DATABASE_URL: `postgresql://nobody:database-password@127.0.0.1:${closed}/none`,
    };
    const { code, stdout, stderr } = await runClaviger(['doctor', '--config', config], { env, cwd: directory });
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`^fail\\s+provider http://127\\.0\\.0\\.1:${closed}\\s.*refuses`, 'm'));
    expect(stdout).toMatch(/^fail\s+database/m);
    expect(stdout).toMatch(/Check api_base/);
    for (const secret of [
      'sk-provider-secret-0123456789',
      'database-password',
      'sk-master-of-the-doctor',
      'salt-of-the-tests',
    ])
      expect(stdout + stderr).not.toContain(secret);

    writeFileSync(config, 'model_list:\n  - model_name: a\n    litellm_params: [wrong]\n');
    const wrong = await runClaviger(['doctor', '--json', '--config', config], { env, cwd: directory });
    expect(wrong.code).toBe(1);
    expect(JSON.parse(wrong.stdout)).toEqual([
      {
        name: 'configuration',
        status: 'fail',
        message: expect.stringMatching(/config\.yaml:3: model_list\[0\]\.litellm_params must be a map/),
        todo: expect.any(String),
      },
    ]);
  });
});

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

async function installationOf(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query('select installation_id::text as id from claviger.installation');
    return rows[0].id;
  } finally {
    await client.end();
  }
}

/** The answer to GET, or to POST of `body`; must be 200. */
async function json(url: string, key: string, body?: object): Promise<ReturnType<typeof JSON.parse>> {
  const answer = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    // A new connection each time, so that the gateway processes take turns.
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', connection: 'close' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  expect([answer.status, text]).toEqual([200, expect.any(String)]);
  return JSON.parse(text);
}
