import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Claviger, type ClavigerOptions, startClaviger } from '../support/processes.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';

export const GATEWAYS = 2;
export const MASTER_KEY = 'sk-master-of-the-fleet-tests';

/** A standalone instance with two gateway processes and a few models of the built-in provider. */
export async function startKeyed(dir: string, options: ClavigerOptions = {}): Promise<Claviger> {
  const config = join(dir, 'config.yaml');
  const models = ['alpha', 'beta', 'team/*'].map((name) => ({
    model_name: name,
    litellm_params: { model: name === 'team/*' ? 'fake/*' : `fake/${name}` },
  }));
  models.push({ model_name: 'vectors', litellm_params: { model: 'fake/embedding' } });
  await writeFile(config, stringify({ model_list: models }));
  return startClaviger({
    dir,
    args: ['--config', config, '--num_workers', `${GATEWAYS}`],
    ...options,
    env: { LITELLM_MASTER_KEY: MASTER_KEY, CLAVIGER_DATA_DIR: dataDirIn(dir), ...options.env },
  });
}

/** As `startKeyed`, and waits until both processes know the newest revision. */
export async function startCurrent(dir: string): Promise<Claviger> {
  const claviger = await startKeyed(dir);
  await waitUntilCurrent(claviger, GATEWAYS);
  return claviger;
}

export function dataDirIn(dir: string): string {
  return join(dir, 'data');
}
