import type { Claviger } from './processes.ts';
import { until } from './until.ts';

/** Knowledge that was confirmed within this time tells unknown keys from keys that are only not known here yet. */
const CURRENT_AGE_MAX_SECONDS = 5;

/**
 * Waits until each gateway process has had its knowledge confirmed by the database: for a moment after the start an unknown
 * key is answered 503, because it could have been made meanwhile.
 */
export async function waitUntilCurrent(claviger: Claviger, gateways = 1): Promise<void> {
  await until(`${gateways} gateway processes are current`, async () => {
    // Where all gateway processes were killed, the port is closed until the first of them is back.
    const { text } = await claviger.api('GET', '/metrics').catch(() => ({ text: '' }));
    const ages = [...text.matchAll(/^claviger_knowledge_age_seconds\{[^}]*\} (\S+)$/gm)].map(([, age]) => Number(age));
    return ages.length === gateways && ages.every((age) => age < CURRENT_AGE_MAX_SECONDS) ? true : null;
  });
}
