import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomicSync } from '../util/atomic-file.ts';
import { OperatorError } from '../util/operator-error.ts';

/** Who this instance is, for as long as its data directory exists. Made at the first start. */
export function instanceIdOf(dataDir: string): string {
  const path = join(dataDir, 'instance.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const instanceId = randomUUID();
    writeFileAtomicSync(path, `${JSON.stringify({ instanceId })}\n`, 0o600);
    return instanceId;
  }
  const instanceId = idIn(text);
  // A new identity would orphan the usage logs and snapshots that carry the old one; that is for the operator to decide.
  if (instanceId === null) {
    throw new OperatorError(
      `${path} does not name an instance; restore it from a backup, or delete it to become a new instance.`,
    );
  }
  return instanceId;
}

function idIn(text: string): string | null {
  try {
    const { instanceId } = JSON.parse(text) as { instanceId?: unknown };
    return typeof instanceId === 'string' && UUID.test(instanceId) ? instanceId : null;
  } catch {
    return null;
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
