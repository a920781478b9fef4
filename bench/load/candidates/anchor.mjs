import { join } from 'node:path';
import { freePort, listening, startProcess } from '../start-candidate.mjs';

const KEY = 'sk-bench-0123456789abcdef';

export const name = 'anchor';
export const title = 'anchor: node:http + undici dispatch + JSON';

export const missing = () => null;

export async function start({ upstream, core, dir, root }) {
  const port = await freePort();
  const started = startProcess({
    command: process.execPath,
    args: [
      ...[join(root, 'bench/load/anchor.mjs'), `${port}`, KEY],
      ...[`http://127.0.0.1:${upstream.http}`, `https://127.0.0.1:${upstream.https}`, upstream.caPath],
    ],
    env: { NODE_ENV: 'production' },
    cwd: root,
    core,
    log: join(dir, 'anchor.log'),
  });
  await listening(port, started, title);
  return {
    pid: started.pid,
    port,
    gatewayPids: () => [started.pid],
    request: () => ({ path: '/v1/chat/completions', headers: { Authorization: `Bearer ${KEY}` } }),
    stop: started.stop,
    logText: started.logText,
  };
}
