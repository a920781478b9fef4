import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from '../../settings/settings.ts';
import { type Check, fail, ok, warn } from './check.ts';

const CALL_TIMEOUT_MS = 5_000;

/** Of a worker that joins an admin: whether it is somebody already, and whether the admins are there. */
export async function checkControlPlane(
  { controlPlaneUrls, dataDir, joinToken }: Pick<Settings, 'controlPlaneUrls' | 'dataDir' | 'joinToken'>,
  fetchAnswer: typeof fetch = fetch,
): Promise<Check[]> {
  const addresses = await Promise.all(controlPlaneUrls.map((address) => checkAddress(address, fetchAnswer)));
  return [checkIdentity(dataDir, joinToken), ...addresses];
}

function checkIdentity(dataDir: string, joinToken: string | null): Check {
  const name = 'joining';
  if (existsSync(join(dataDir, 'identity', 'identity.json'))) return ok(name, 'this worker has joined');
  if (joinToken !== null) return ok(name, 'this worker joins at its first start, with CLAVIGER_JOIN_TOKEN');
  return fail(
    name,
    'this worker has not joined, and has no token',
    'Get one on an admin (claviger fleet token --region <region>) and set CLAVIGER_JOIN_TOKEN to it.',
  );
}

async function checkAddress(address: string, fetchAnswer: typeof fetch): Promise<Check> {
  const name = 'control plane';
  let status: number;
  try {
    // An instance that takes workers asks for a signature; others ask for a key.
    const answer = await fetchAnswer(`${address}/feed/v1/stream`, {
      method: 'POST',
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    status = answer.status;
    if (/"code":\s*"unsigned"/.test(await answer.text())) return ok(name, `${address} takes workers`);
  } catch (error) {
    const { cause, message } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    return warn(
      name,
      `${address} does not answer: ${reason}`,
      'A worker that joined serves without it, up to its fence.',
    );
  }
  if (status >= 500) return warn(name, `${address} answers ${status}`, 'It can not take workers at the moment.');
  return fail(
    name,
    `${address} answers ${status}, as an instance that takes no workers`,
    'CONTROL_PLANE_URL has to name admins: instances with a database and without DISABLE_ADMIN_ENDPOINTS.',
  );
}
