import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, listening, startProcess } from '../start-candidate.mjs';

export const name = 'portkey';
export const title = '@portkey-ai/gateway';

const serverPath = (root) => join(root, 'node_modules/@portkey-ai/gateway/build/start-server.js');

export const missing = ({ root }) =>
  existsSync(serverPath(root)) ? null : '@portkey-ai/gateway is not installed (npm install --workspace bench)';

export async function start({ upstream, core, dir, root }) {
  const port = await freePort();
  const started = startProcess({
    command: process.execPath,
    args: [serverPath(root), `--port=${port}`, '--headless'],
    env: { NODE_ENV: 'production', NODE_EXTRA_CA_CERTS: upstream.caPath, TRUSTED_CUSTOM_HOSTS: '127.0.0.1,localhost' },
    cwd: dir,
    core,
    log: join(dir, 'portkey.log'),
  });
  await listening(port, started, title);
  return {
    pid: started.pid,
    port,
    gatewayPids: () => [started.pid],
    request: (test) => ({
      path: '/v1/chat/completions',
      headers: {
        Authorization: 'Bearer sk-upstream',
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': test.tls
          ? `https://127.0.0.1:${upstream.https}/v1`
          : `http://127.0.0.1:${upstream.http}/v1`,
      },
    }),
    stop: started.stop,
    logText: started.logText,
  };
}
