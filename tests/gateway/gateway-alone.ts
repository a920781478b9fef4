import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { UsageRecord } from '../../src/domain/usage.ts';

export type ToGateway = { readonly id: number } & GatewayCommand;
export type FromGateway = { readonly id: number; readonly value?: unknown; readonly error?: string };

type GatewayCommand =
  | { readonly type: 'start'; readonly upstreamUrl: string }
  | { readonly type: 'rss' }
  | { readonly type: 'settled'; readonly count: number }
  | { readonly type: 'stop' };

/** A gateway in another process. */
export interface GatewayAlone {
  readonly url: string;
  /** Resident bytes of its process. */
  rss(): Promise<number>;
  /** Its settlements, once there are that many and no call is open. */
  settled(count: number): Promise<readonly UsageRecord[]>;
  /** Waits until nothing is under way in it, then ends it. */
  stop(): Promise<void>;
}

export async function startGatewayAlone(upstreamUrl: string): Promise<GatewayAlone> {
  // Node 20 can not run TypeScript by itself; the path is absolute because the test's working directory may be anywhere.
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const entry = fileURLToPath(new URL('./fixtures/gateway-alone.ts', import.meta.url));
  const child = fork(entry, [], { execArgv: ['--import', tsx], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const pending = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let number = 0;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.on('message', ({ id, value, error }: FromGateway) => {
    const waiter = pending.get(id);
    pending.delete(id);
    if (error === undefined) waiter?.resolve(value);
    else waiter?.reject(new Error(`gateway alone: ${error}`));
  });
  child.once('exit', (code, signal) => {
    for (const { reject } of pending.values()) reject(new Error(`the gateway ended (${signal ?? code})`));
  });
  const ask = (command: GatewayCommand): Promise<unknown> =>
    new Promise((resolve, reject) => {
      number += 1;
      pending.set(number, { resolve, reject });
      child.send({ ...command, id: number } satisfies ToGateway);
    });
  const url = (await ask({ type: 'start', upstreamUrl })) as string;
  return {
    url,
    rss: async () => (await ask({ type: 'rss' })) as number,
    settled: async (count) => (await ask({ type: 'settled', count })) as UsageRecord[],
    async stop() {
      try {
        await ask({ type: 'stop' });
      } finally {
        child.kill('SIGKILL');
        await exited;
      }
    },
  };
}
