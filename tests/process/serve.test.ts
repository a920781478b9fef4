import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const program = join(dirname(fileURLToPath(import.meta.url)), 'fixtures', 'run-serve.ts');
const loader = fileURLToPath(import.meta.resolve('tsx'));

let cwd: string;
let child: ChildProcess | null = null;
beforeEach(() => {
  cwd = mkdtempSync('/tmp/cts-');
  chmodSync(cwd, 0o755);
});
afterEach(async () => {
  if (child !== null && child.exitCode === null) {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
  rmSync(cwd, { recursive: true, force: true });
});

interface Run {
  stdout: string;
  stderr: string;
  readonly ended: Promise<number>;
}

function serve(env: Record<string, string>): Run {
  const started = spawn(process.execPath, ['--import', loader, program], {
    cwd,
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', CLAVIGER_DRAIN_TIMEOUT: '5', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  const run: Run = { stdout: '', stderr: '', ended: once(started, 'close').then(([code]) => code as number) };
  started.stdout.setEncoding('utf8').on('data', (text: string) => {
    run.stdout += text;
  });
  started.stderr.setEncoding('utf8').on('data', (text: string) => {
    run.stderr += text;
  });
  return run;
}

async function banner(run: Run): Promise<string> {
  return await until(`the banner; it says ${run.stdout}${run.stderr}`, () => {
    const text = /^Claviger is serving on[\s\S]*?-d '.*'$/m.exec(run.stdout)?.[0];
    return text ?? null;
  });
}

describe('the first start', () => {
  it('prints address, key, data directory and a command that answers when it is pasted', async () => {
    const port = await freePort();
    const run = serve({ PORT: String(port), LITELLM_LICENSE: 'eyJ' });
    const text = await banner(run);
    expect(text).toContain(`http://127.0.0.1:${port}`);
    expect(text).toMatch(/master key: +sk-\S+/);
    expect(text).toContain(join(cwd, '.claviger'));
    const pasted = spawnSync('/bin/sh', ['-c', text.slice(text.indexOf('curl')).replace('curl', 'curl -s')], {
      encoding: 'utf8',
    });
    expect(JSON.parse(pasted.stdout)).toMatchObject({
      object: 'chat.completion',
      choices: [{ finish_reason: 'stop' }],
    });
    expect(run.stdout.match(/LITELLM_LICENSE/g)).toHaveLength(1);

    child!.kill('SIGTERM');
    expect(await run.ended).toBe(0);
    expect(run.stderr).toBe('');
    expect(readdirSync(join(cwd, '.claviger')).filter((name) => name.startsWith('lock-'))).toEqual([]);
  });

  it('answers "port in use" with one sentence and exit code 1', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const run = serve({ PORT: String(port) });
    expect(await run.ended).toBe(1);
    expect(run.stderr).toBe(
      `claviger: Port ${port} is in use on 127.0.0.1 by another program; choose another with --port (or PORT), or end that program.\n`,
    );
    server.close();
  });

  it.each([
    ['a wrong setting', { PORT: 'x' }, /^claviger: The port .*\n$/],
    ['a config file that is missing', { CONFIG_FILE_PATH: 'none.yaml' }, /^claviger: .*none\.yaml.*\n$/],
    ['a data directory that is a file', { CLAVIGER_DATA_DIR: 'file' }, /^claviger: The data directory .*ENOTDIR.*\n$/],
    ['one that can not be made', { CLAVIGER_DATA_DIR: 'file/data' }, /^claviger: The data directory .*EEXIST.*\n$/],
    ['one where keys can not be kept', { CLAVIGER_DATA_DIR: 'file', DATABASE_URL: '' }, /^claviger: .*ENOTDIR.*\n$/],
  ])('answers %s with one sentence and exit code 1', async (_what, env, sentence) => {
    writeFileSync(join(cwd, 'file'), '');
    const secrets = { LITELLM_MASTER_KEY: 'sk-1', LITELLM_SALT_KEY: 'salt' };
    const run = serve({ PORT: '0', DATABASE_URL: 'postgresql://x@127.0.0.1:1/x', ...secrets, ...env });
    expect(await run.ended).toBe(1);
    expect(run.stderr).toMatch(sentence);
  });
});

describe('a start with a master key that somebody chose', () => {
  it('does not print it, and names the variable in a command that works', async () => {
    mkdirSync(join(cwd, 'data'));
    const run = serve({
      PORT: String(await freePort()),
      LITELLM_MASTER_KEY: 'sk-chosen-by-somebody',
      CLAVIGER_DATA_DIR: 'data',
    });
    const text = await banner(run);
    expect(run.stdout).not.toContain('sk-chosen-by-somebody');
    const pasted = spawnSync('/bin/sh', ['-c', text.slice(text.indexOf('curl')).replace('curl', 'curl -s')], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, LITELLM_MASTER_KEY: 'sk-chosen-by-somebody' },
    });
    expect(JSON.parse(pasted.stdout)).toMatchObject({ object: 'chat.completion' });
  });
});
