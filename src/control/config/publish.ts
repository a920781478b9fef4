import { awaitApplied } from '../fleet/await-applied.ts';
import type { ChangeTail, Stretch } from '../fleet/change-tail.ts';
import type { Registry } from '../fleet/registry.ts';

/**
 * Hands a committed change to the gateway processes of this instance without waiting for a poll, and waits until they have it in
 * force (bounded), so that the answer of the management call is true when it is given.
 */
export async function publish(stretch: Stretch, tail: ChangeTail, registry: Registry): Promise<void> {
  tail.publish(stretch);
  await awaitApplied(registry, { epoch: stretch.epoch, rev: stretch.to });
}
