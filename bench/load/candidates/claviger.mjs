import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODEL, MODEL_TLS, UPSTREAM_MODEL } from '../payloads.mjs';
import { commandLine, processTree } from '../process-stats.mjs';
import { freePort, listening, startProcess } from '../start-candidate.mjs';

const MASTER_KEY = 'sk-bench-master-0123456789';
/** Until readiness and the first key; the database is made within this time. */
const READY_MS_MAX = 60_000;

export const name = 'claviger';
export const title = 'Claviger, virtual key, usage log and metrics on';

const mainPath = (root) => join(root, 'dist/cli/main.js');

export const missing = ({ root }) => (existsSync(mainPath(root)) ? null : 'dist/cli/main.js is not built');

export async function start({ upstream, core, dir, root }) {
  const port = await freePort();
  const dataDir = join(dir, 'claviger');
  mkdirSync(dataDir, { recursive: true });
  const model = (model_name, api_base) => ({
    model_name,
    litellm_params: {
      ...{ model: `openai/${UPSTREAM_MODEL}`, api_base, api_key: 'sk-upstream' },
      ...{ input_cost_per_token: 2.5e-6, output_cost_per_token: 1e-5 },
    },
  });
  // JSON is YAML.
  const config = {
    model_list: [
      model(MODEL, `http://127.0.0.1:${upstream.http}/v1`),
      model(MODEL_TLS, `https://127.0.0.1:${upstream.https}/v1`),
    ],
  };
  writeFileSync(join(dir, 'claviger.yaml'), JSON.stringify(config, null, 2));
  const started = startProcess({
    command: process.execPath,
    args: [mainPath(root), 'serve', '--config', join(dir, 'claviger.yaml'), '--port', `${port}`, '--num_workers', '1'],
    env: {
      ...{
        CLAVIGER_DATA_DIR: dataDir,
        LITELLM_MASTER_KEY: MASTER_KEY,
        LITELLM_SALT_KEY: 'bench-salt',
        HOST: '127.0.0.1',
      },
      ...{ SSL_CERT_FILE: upstream.caPath, NODE_ENV: 'production', DATABASE_URL: undefined },
    },
    cwd: dir,
    core,
    log: join(dir, 'claviger.log'),
  });
  await listening(port, started, title);
  const key = await firstKey(port, started);
  return {
    pid: started.pid,
    port,
    gatewayPids: () => gatewayProcesses(started.pid),
    request: () => ({ path: '/v1/chat/completions', headers: { Authorization: `Bearer ${key}` } }),
    stop: started.stop,
    logText: started.logText,
  };
}

/** The processes of an instance that serve requests, by the name of their entry file. */
export function gatewayProcesses(root) {
  return processTree(root).filter((pid) => commandLine(pid).includes('gateway-process'));
}

/** Waits until a key can be made and is in force: a start answers 503 until the gateway process has its first snapshot. */
async function firstKey(port, started) {
  const deadline = Date.now() + READY_MS_MAX;
  let key = null;
  let last = 'no answer';
  while (Date.now() < deadline && started.running()) {
    try {
      if (key === null) {
        const made = await post(port, '/key/generate', MASTER_KEY, { key_alias: 'bench' });
        if (made.ok) key = (await made.json()).key;
        else last = `${made.status} ${await made.text()}`;
      } else {
        const answer = await post(port, '/v1/chat/completions', key, { model: MODEL, messages: [] });
        last = `${answer.status} ${await answer.text()}`;
        if (answer.ok) return key;
      }
    } catch (error) {
      last = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Claviger gave no key that works: ${last}\n${started.logText()}`);
}

function post(port, path, key, body) {
  return fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}
