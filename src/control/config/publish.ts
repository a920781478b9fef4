import type { ControlContext } from '../context.ts';
import { awaitApplied } from '../fleet/await-applied.ts';
import type { Stretch } from '../fleet/change-tail.ts';

/**
 * Hands a committed change to the gateway processes of this instance without waiting for a poll, and waits until they have it in
 * force (bounded), so that the answer of the management call is true when it is given.
 */
export async function publish(stretch: Stretch, { tail, registry, settings }: ControlContext): Promise<void> {
  tail.publish(stretch);
  await awaitApplied(registry, { epoch: stretch.epoch, rev: stretch.to, gatewayCount: settings.numWorkers });
}
