import { type ChildProcess, spawn } from 'node:child_process';
import { createConnection } from 'node:net';
import { freePort } from './processes.ts';
import { MissingRequirement, provideProgram, requirements } from './requirements.ts';
import { until } from './until.ts';

/** A Redis (or Valkey) of its own, without anything on disk. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** Keeps its connections and answers nothing. */
  freeze(): void;
  thaw(): void;
  flush(): Promise<void>;
  kill(): Promise<void>;
  /** After `kill`: the same port, and nothing in it. */
  startAgain(): Promise<void>;
  stop(): Promise<void>;
}

/** False, with a line that says what to install, where there is none and none can be installed; in CI that is an error. */
export function canStartRedis(): boolean {
  try {
    provideProgram(requirements.redis);
    return true;
  } catch (error) {
    if (!(error instanceof MissingRequirement) || process.env.CI) throw error;
    process.stderr.write(`skipped: tests with Redis: ${error.message}\n`);
    return false;
  }
}

export async function startRedis(): Promise<RedisServer> {
  const program = provideProgram(requirements.redis);
  const port = await freePort();
  let child: ChildProcess;
  let exited: Promise<void>;
  const start = async (): Promise<void> => {
    child = spawn(program, ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      cwd: '/tmp',
      stdio: 'ignore',
    });
    exited = new Promise((resolve) => child.once('exit', () => resolve()));
    await until('Redis answers', async () => ((await say(port, 'PING').catch(() => '')) === '+PONG' ? true : null));
  };
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  process.once('exit', () => child?.kill('SIGKILL'));
  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    flush: async () => void (await say(port, 'FLUSHALL')),
    kill,
    startAgain: start,
    stop: kill,
  };
}

/** One command in the inline form, and the first line of its answer. */
function say(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.setEncoding('utf8');
    socket.once('error', reject);
    socket.once('data', (text: string) => {
      socket.destroy();
      resolve(text.split('\r\n')[0]!);
    });
    socket.write(`${command}\r\n`);
  });
}
