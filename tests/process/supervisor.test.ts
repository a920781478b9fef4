import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { processIdentity } from '../../src/util/process-identity.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { type Instance, instances, ordinaryAccount, orNull, ownedBy } from './support.ts';

const { cleanUp, dataDir, dataDirWithDatabase, removeTemplate, start } = instances();
afterEach(cleanUp);
afterAll(removeTemplate);

const isGone = (pid: number) => until(`process ${pid} ends`, () => (processIdentity(pid) === null ? true : null));

async function serving(env: Record<string, string> = {}): Promise<Instance> {
  return await start({ dataDir: await dataDirWithDatabase(), port: await freePort(), env }).serving();
}

describe('a process that is killed', () => {
  it('comes back when it is a gateway process, in the same slot and with another session', async () => {
    const instance = await serving();
    const before = await instance.who();
    process.kill(before.pid, 'SIGKILL');
    const after = await until('another gateway process answers', async () => {
      const who = await orNull(instance.who());
      return who?.pid === before.pid ? null : who;
    });
    expect(after.slot).toBe(before.slot);
    expect(after.session).not.toBe(before.session);
    expect(await instance.fetch('/metrics')).toContain('claviger_process_restarts_total{process="gateway"} 1');
  });

  it('comes back when it is the control process, while gateway processes answer', async () => {
    const instance = await serving();
    const before = await instance.control();
    process.kill(before.pid, 'SIGKILL');
    const after = await until('another control process answers', async () => {
      await instance.who();
      return await orNull(instance.control());
    });
    expect(after.pid).not.toBe(before.pid);
  });

  it('comes back when it is PostgreSQL, under the same connection string', async () => {
    const instance = await serving();
    const [postgres, control] = [instance.postgresPid(), instance.controlPid()];
    process.kill(postgres, 'SIGKILL');
    await isGone(postgres);
    await until('the control process reaches the database again', () => orNull(instance.control()));
    expect(instance.postgresPid()).not.toBe(postgres);
    expect(instance.controlPid()).toBe(control);
  });

  it('leaves the other gateway processes answering when there are several', async () => {
    const instance = await serving({ NUM_WORKERS: '2' });
    await bothAnswer(instance);
    const killed = instance.gatewayPid(0);
    process.kill(killed, 'SIGKILL');
    await isGone(killed);
    for (let request = 0; request < 10; request++) await instance.who();
    await until('it is back', () => (instance.gatewayPid(0) === killed ? null : true));
  });
});

describe('a connection on its way to a gateway process that dies', () => {
  it('is reset when there is no other process, and not left open for ever', async () => {
    const instance = await serving();
    const gateway = instance.gatewayPid();
    const [asked] = await askWhileStopped(instance, gateway, 1);
    expect(await asked!).toBe('ECONNRESET');
  });

  it('is answered by another process when there is one', async () => {
    const instance = await serving({ NUM_WORKERS: '2' });
    await bothAnswer(instance);
    const gateway = instance.gatewayPid(0);
    // In turns: half of them are on their way to the process that is stopped.
    const asked = await askWhileStopped(instance, gateway, 4);
    for (const answer of await Promise.all(asked)) expect(answer).toMatchObject({ slot: 1 });
  });
});

describe('a supervisor that is killed', () => {
  it('takes its children with it but not PostgreSQL, which the next start takes over', async () => {
    const first = await serving();
    const [gateway, control, postgres] = [first.gatewayPid(), first.controlPid(), first.postgresPid()];
    await first.kill();
    await isGone(gateway);
    await isGone(control);
    expect(processIdentity(postgres)).not.toBeNull();

    const second = await start({ dataDir: first.dataDir, port: first.port }).serving();
    expect(second.postgresPid()).toBe(postgres);
    expect(second.stdout).toContain('embedded PostgreSQL taken over');
    expect((await second.control()).name).toBe('claviger');
    // One that is not our child is watched as well.
    process.kill(postgres, 'SIGKILL');
    await isGone(postgres);
    await until('the database is back', () => orNull(second.control()));
  });

  it('lets an open stream end, while the next start serves from another slot and then from the first again', async () => {
    const first = await serving();
    const old = await first.who();
    const stream = await hold(first);
    await first.kill();

    const second = await start({ dataDir: first.dataDir, port: first.port }).serving();
    const standIn = await second.who();
    expect(standIn.slot).toBe(1);
    expect(processIdentity(old.pid)).not.toBeNull();

    process.kill(old.pid, 'SIGUSR2');
    expect(await stream.rest()).toBe('let go');
    await isGone(old.pid);
    // The stand-in goes on answering until the process of the first slot is ready.
    await until('the first slot serves', async () => ((await second.who()).slot === 0 ? true : null));
    await isGone(standIn.pid);
    expect((await second.who()).slot).toBe(0);
  });
});

describe('one data directory', () => {
  it('belongs to one instance: a second start says which process has it and ends', async () => {
    const first = await serving();
    const second = start({ dataDir: first.dataDir, port: await freePort() });
    expect(await second.ended).toBe(1);
    expect(second.stderr).toBe(
      `Another Claviger (process ${first.supervisor.pid}) is running on the data directory ${first.dataDir}; end it, or choose another directory with CLAVIGER_DATA_DIR.\n`,
    );
    expect((await first.who()).slot).toBe(0);
  });

  it('is won by exactly one of several that start at the same moment', async () => {
    const directory = await dataDirWithDatabase();
    const ports = await Promise.all([freePort(), freePort(), freePort()]);
    const starts = ports.map((port) => start({ dataDir: directory, port }));
    const outcomes = starts.map((instance) =>
      Promise.race([
        instance.serving().then(
          () => 'serving',
          () => 'ended',
        ),
        instance.ended.then(() => 'ended'),
      ]),
    );
    expect((await Promise.all(outcomes)).sort()).toEqual(['ended', 'ended', 'serving']);
  });
});

describe('a start that can not succeed', () => {
  it('says that the port is in use, without a stack, and leaves nothing behind', async () => {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as { port: number };
    const instance = start({ dataDir: dataDir(), port });
    expect(await instance.ended).toBe(1);
    expect(instance.stderr).toBe(
      `Port ${port} is in use on 127.0.0.1 by another program; choose another with --port (or PORT), or end that program.\n`,
    );
    expect(readdirSync(instance.dataDir).filter((name) => name.startsWith('lock-'))).toEqual([]);
    server.close();
  });

  it('says what a gateway process says that can not run, and ends everything', async () => {
    const instance = start({
      dataDir: await dataDirWithDatabase(),
      port: await freePort(),
      env: { STAND_IN_GATEWAY: 'cannot-run' },
    });
    expect(await instance.ended).toBe(1);
    expect(instance.stderr).toBe('The stand-in can not run.\n');
    expect(existsSync(join(instance.dataDir, 'postgres-18', 'postmaster.pid'))).toBe(false);
  });

  it('says that a gateway process was not ready in time, and ends everything', async () => {
    const instance = start({
      dataDir: await dataDirWithDatabase(),
      port: await freePort(),
      env: { STAND_IN_GATEWAY: 'never-ready' },
      bounds: { readyTimeoutMs: 1_000 },
    });
    expect(await instance.ended).toBe(1);
    expect(instance.stderr).toBe('The gateway process 0 was not ready within 1 s.\n');
    expect(existsSync(join(instance.dataDir, 'postgres-18', 'postmaster.pid'))).toBe(false);
  });
});

describe('an instance', () => {
  it('serves without its control process, and says that it is late', async () => {
    const instance = start({
      dataDir: await dataDirWithDatabase(),
      port: await freePort(),
      env: { STAND_IN_CONTROL: 'never-ready' },
      bounds: { controlPatienceMs: 1_000 },
    });
    await instance.serving();
    expect(instance.stdout).toContain('The control process is not ready yet');
    expect((await instance.who()).slot).toBe(0);
  });

  it('stops in order on SIGTERM: open streams end first, and no process is left', async () => {
    const instance = await serving({ NUM_WORKERS: '2' });
    instance.postgresPid();
    const stream = await hold(instance);
    instance.supervisor.kill('SIGTERM');
    // No new connections, while the open stream and all that it needs live on.
    await until('the port is closed', async () => ((await orNull(instance.who())) === null ? true : null));
    expect((await instance.control()).name).toBe('claviger');
    for (const slot of [0, 1])
      if (processIdentity(instance.gatewayPid(slot))) process.kill(instance.gatewayPid(slot), 'SIGUSR2');
    expect(await stream.rest()).toBe('let go');
    expect(await instance.ended).toBe(0);
    expect(instance.alive()).toEqual([]);
    expect(readdirSync(instance.dataDir).filter((name) => name.startsWith('lock-'))).toEqual([]);
  });

  it('stops at once on a second signal', async () => {
    const instance = await serving();
    instance.postgresPid();
    await hold(instance);
    instance.supervisor.kill('SIGINT');
    await until('the port is closed', async () => ((await orNull(instance.who())) === null ? true : null));
    instance.supervisor.kill('SIGINT');
    await instance.ended;
    expect(instance.alive()).toEqual([]);
  });

  it('hands SIGHUP on as a request to reload', async () => {
    const instance = await serving();
    instance.supervisor.kill('SIGHUP');
    await until('the gateway process reloads', async () => ((await instance.who()).reloads === 1 ? true : null));
  });

  it('answers /metrics for all of its processes, also when one of them hangs', async () => {
    const instance = await serving({ NUM_WORKERS: '2' });
    await bothAnswer(instance);
    // The control process of this test counts 1000.
    expect(Number(/stand_in_requests_total (\d+)/.exec(await instance.fetch('/metrics'))?.[1])).toBeGreaterThan(1_001);
    process.kill(instance.controlPid(), 'SIGSTOP');
    const metrics = await instance.fetch('/metrics');
    process.kill(instance.controlPid(), 'SIGCONT');
    expect(Number(/stand_in_requests_total (\d+)/.exec(metrics)?.[1])).toBeLessThan(1_000);
  });

  it('works from a path of 200 characters with spaces', async () => {
    const long = join(
      '/tmp',
      `cts-${process.pid}`,
      'a directory with spaces '.repeat(3).trim(),
      'and another one '.repeat(7).trim(),
    );
    const instance = start({ dataDir: dataDir(long), port: await freePort() });
    try {
      expect(instance.dataDir.length).toBeGreaterThan(200);
      await instance.serving();
      expect((await instance.control()).name).toBe('claviger');
      await instance.end();
    } finally {
      rmSync(join('/tmp', `cts-${process.pid}`), { recursive: true, force: true });
    }
  });

  const account = ordinaryAccount();
  it.runIf(account !== null)('runs as an ordinary account, with PostgreSQL as the same one', async () => {
    const directory = dataDir();
    ownedBy(account!, directory);
    const instance = await start({ dataDir: directory, port: await freePort(), account: account! }).serving();
    expect(statSync(join(directory, 'postgres-18')).uid).toBe(account!.uid);
    await instance.end();
    expect(instance.alive()).toEqual([]);
  });

  it.runIf(account !== null)('says what is missing for an account that the system does not know', async () => {
    const unknown = { uid: 23_456, gid: 23_456 };
    const directory = dataDir();
    ownedBy(unknown, directory);
    const instance = start({ dataDir: directory, port: await freePort(), account: unknown });
    expect(await instance.ended).toBe(1);
    expect(instance.stderr).toMatch(/^The embedded PostgreSQL needs an account, .*uid 23456.*DATABASE_URL.*\n$/);
  });

  it.runIf(account !== null)('says so when another account made the database', async () => {
    const directory = dataDir();
    ownedBy(account!, directory);
    mkdirSync(join(directory, 'postgres-18'));
    const instance = start({ dataDir: directory, port: await freePort(), account: account! });
    expect(await instance.ended).toBe(1);
    expect(instance.stderr).toContain('belongs to root and not to nobody');
  });

  it.runIf(account !== null)('has its database outside of a data directory that PostgreSQL can not reach', async () => {
    const directory = dataDir();
    chmodSync(dirname(directory), 0o700);
    const instance = await start({ dataDir: directory, port: await freePort() }).serving();
    const { directory: database } = await instance.control();
    try {
      expect(database).toMatch(/^\/var\/lib\/claviger\/[0-9a-f]{8}\/postgres-18$/);
      await instance.end();
    } finally {
      rmSync(dirname(database), { recursive: true, force: true });
    }
  });
});

async function bothAnswer(instance: Instance): Promise<void> {
  const slots = new Set<number>();
  await until('both gateway processes answer', async () => {
    slots.add((await instance.who()).slot);
    return slots.size === 2 ? true : null;
  });
}

/** Asks `count` times while the process can not take connections, and then kills it. The answers or codes of errors. */
async function askWhileStopped(instance: Instance, gateway: number, count: number): Promise<Promise<unknown>[]> {
  process.kill(gateway, 'SIGSTOP');
  const asked = Array.from({ length: count }, () =>
    instance.who().catch((error: NodeJS.ErrnoException) => error.code ?? error.message),
  );
  await until('the supervisor has had a turn to accept them', () => {
    instance.supervisor.kill('SIGHUP');
    return instance.stdout.includes('reloading the configuration') ? true : null;
  });
  process.kill(gateway, 'SIGKILL');
  return asked;
}

/** A stream that stays open. */
async function hold(instance: Instance): Promise<{ rest: () => Promise<string> }> {
  const request = get({ host: '127.0.0.1', port: instance.port, path: '/hold', agent: false });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.setEncoding('utf8').on('error', () => {});
  let text = '';
  response.on('data', (chunk: string) => {
    text += chunk;
  });
  const ended = new Promise((resolve) => response.once('close', resolve));
  await until('the stream begins', () => (text === 'held' ? true : null));
  return { rest: () => ended.then(() => text.slice('held'.length)) };
}
