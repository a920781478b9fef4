import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODEL, MODEL_TLS, UPSTREAM_MODEL } from '../payloads.mjs';
import { processTree } from '../process-stats.mjs';
import { findOnPath, freePort, listening, startProcess } from '../start-candidate.mjs';

const MASTER_KEY = 'sk-bench-litellm';

export const name = 'litellm';
export const title = 'LiteLLM, master key, no database';

export const missing = () => (findOnPath('litellm') === null ? 'litellm is not on the PATH' : null);

export async function start({ upstream, core, dir, root }) {
  const port = await freePort();
  const model = (model_name, api_base) => ({
    model_name,
    litellm_params: { model: `openai/${UPSTREAM_MODEL}`, api_base, api_key: 'sk-upstream' },
  });
  // JSON is YAML.
  const config = {
    model_list: [
      model(MODEL, `http://127.0.0.1:${upstream.http}/v1`),
      model(MODEL_TLS, `https://127.0.0.1:${upstream.https}/v1`),
    ],
    general_settings: { master_key: MASTER_KEY },
  };
  writeFileSync(join(dir, 'litellm.yaml'), JSON.stringify(config, null, 2));
  const started = startProcess({
    command: findOnPath('litellm'),
    args: ['--config', join(dir, 'litellm.yaml'), '--host', '127.0.0.1', '--port', `${port}`, '--num_workers', '1'],
    env: { SSL_CERT_FILE: upstream.caPath, LITELLM_LOG: 'ERROR', DATABASE_URL: undefined, LITELLM_TELEMETRY: 'False' },
    cwd: root,
    core,
    log: join(dir, 'litellm.log'),
  });
  await listening(port, started, title);
  return {
    pid: started.pid,
    port,
    gatewayPids: () => processTree(started.pid),
    request: () => ({ path: '/v1/chat/completions', headers: { Authorization: `Bearer ${MASTER_KEY}` } }),
    stop: started.stop,
    logText: started.logText,
  };
}
