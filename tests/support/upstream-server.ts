import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type {
  FromUpstream,
  SeenRequest,
  ToUpstream,
  UpstreamBoot,
  UpstreamCommand,
  UpstreamScript,
} from './upstream-server-protocol.ts';

export interface UpstreamOptions {
  readonly tls?: UpstreamBoot['tls'];
  /** PEM of the authority whose client certificates are accepted, and then required. */
  readonly clientCa?: string;
  /** How long the server keeps an idle connection; 5 s as Node does. */
  readonly keepAliveTimeoutMs?: number;
}

/** An OpenAI-compatible server in another process. Ends with `stop`, and in any case with the process of the test. */
export interface UpstreamServer extends AsyncDisposable {
  /** Without trailing slash and without `/v1`. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Everything seen so far, in order of arrival. */
  requests(): Promise<readonly SeenRequest[]>;
  /** Waits until `find` returns something; fails with what was seen instead. */
  waitFor<T>(find: (requests: readonly SeenRequest[]) => T | undefined, timeoutMs?: number): Promise<T>;
  /** For all later requests that do not say otherwise themselves; replaces what was told before. */
  script(script: Partial<UpstreamScript>): Promise<void>;
  forget(): Promise<void>;
  /** Closes the port and all connections, until `listen`. */
  refuse(): Promise<void>;
  listen(): Promise<void>;
  stop(): Promise<void>;
}

const POLL_MS = 10;

export async function startUpstream(options: UpstreamOptions = {}): Promise<UpstreamServer> {
  // Node 20 can not run TypeScript by itself; the path is absolute because the test's working directory may be anywhere.
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const entry = fileURLToPath(new URL('./upstream-server-process.ts', import.meta.url));
  const child = fork(entry, [], { execArgv: ['--import', tsx], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const pending = new Map<number, { resolve: (message: FromUpstream) => void; reject: (error: Error) => void }>();
  let number = 0;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.on('message', (message: FromUpstream) => {
    const waiter = pending.get(message.id);
    pending.delete(message.id);
    if ('error' in message) waiter?.reject(new Error(`upstream server: ${message.error}`));
    else waiter?.resolve(message);
  });
  child.once('exit', (code, signal) => {
    for (const { reject } of pending.values()) reject(new Error(`the upstream server ended (${signal ?? code})`));
    pending.clear();
  });

  const ask = (command: UpstreamCommand): Promise<FromUpstream> =>
    new Promise((resolve, reject) => {
      number += 1;
      pending.set(number, { resolve, reject });
      const message: ToUpstream = { ...command, id: number };
      child.send(message, (error) => {
        if (error !== null) reject(error);
      });
    });
  const tell = async (command: UpstreamCommand): Promise<void> => {
    await ask(command);
  };
  const requests = async (): Promise<readonly SeenRequest[]> => {
    const answer = await ask({ type: 'requests' });
    return 'requests' in answer ? answer.requests : [];
  };
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await exited;
  };

  const boot = {
    tls: options.tls ?? null,
    clientCa: options.clientCa ?? null,
    keepAliveTimeoutMs: options.keepAliveTimeoutMs ?? 5_000,
  };
  const booted = await ask({ type: 'boot', boot });
  const port = 'port' in booted ? booted.port : 0;
  return {
    url: `${boot.tls === null ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    pid: child.pid ?? 0,
    requests,
    async waitFor(find, timeoutMs = 5_000) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        const list = await requests();
        const found = find(list);
        if (found !== undefined) return found;
        if (Date.now() > deadline) throw new Error(`not seen within ${timeoutMs} ms; seen: ${summary(list)}`);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    },
    script: (script) => tell({ type: 'script', script }),
    forget: () => tell({ type: 'forget' }),
    refuse: () => tell({ type: 'refuse' }),
    listen: () => tell({ type: 'listen' }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function summary(requests: readonly SeenRequest[]): string {
  const lines = requests.map(
    ({ number, method, path, mode, status, end, bytesTaken }) =>
      `#${number} ${method} ${path} ${mode} -> ${status} ${end}, ${bytesTaken} bytes taken`,
  );
  return lines.length === 0 ? 'no request' : lines.join('; ');
}
