import { join } from 'node:path';
import { ChaosProxy } from './chaos-proxy.ts';

/** A way to a database on which the network can be changed. `url` is a socket URL as test databases have them. */
export async function startDatabaseProxy(url: string): Promise<{ readonly proxy: ChaosProxy; readonly url: string }> {
  const near = new URL(url);
  const path = join(near.searchParams.get('host')!, `.s.PGSQL.${near.port}`);
  const proxy = await ChaosProxy.start({ path });
  near.search = '?sslmode=disable';
  near.host = `127.0.0.1:${proxy.port}`;
  return { proxy, url: near.href };
}
