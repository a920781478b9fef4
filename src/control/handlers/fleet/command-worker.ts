import { drainWorkerRoute, removeWorkerRoute, resyncWorkerRoute } from '../../../contract/routes/fleet.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { forgetInstance, type GatewayCommand, giveCommand } from '../../../storage/repositories/fleet.ts';
import type { ControlContext } from '../../context.ts';
import type { WorkerView } from '../../fleet/fleet-view.ts';
import { endpoint, type HandlerResult } from '../handler.ts';

export const drainWorkerEndpoint = endpoint(drainWorkerRoute, ({ query }, context) =>
  command('drain', query.id, context),
);
export const resyncWorkerEndpoint = endpoint(resyncWorkerRoute, ({ query }, context) =>
  command('resync', query.id, context),
);

export const removeWorkerEndpoint = endpoint(removeWorkerRoute, async ({ query }, context) => {
  const worker = await findWorker(query.id, context);
  const present = worker.gateways.find(({ state }) => state !== 'lost' && state !== 'left');
  if (present !== undefined) {
    throw new ClavigerError('conflict', {
      reason: `Worker ${worker.instanceId} is ${present.state}: ${present.row.gatewayId} was heard of ${Math.round(present.heardAgeMs / 1_000)} s ago. Only what is lost or has left can be forgotten.`,
    });
  }
  const gateways_forgotten = await context.db.write((tx) => forgetInstance(tx, worker.instanceId));
  return { json: { worker: worker.instanceId, gateways_forgotten } };
});

/** Protocol 1 knows no commands. */
const COMMANDS_SINCE_PROTOCOL = 2;

async function command(asked: GatewayCommand, id: string, context: ControlContext): Promise<HandlerResult> {
  const worker = await findWorker(id, context);
  const gateways = worker.gateways
    .filter(({ state, row }) => state !== 'lost' && state !== 'left' && row.protocol >= COMMANDS_SINCE_PROTOCOL)
    .map(({ row }) => row.gatewayId);
  if (gateways.length === 0) {
    throw new ClavigerError('conflict', {
      reason: `Worker ${worker.instanceId} is ${worker.state}: nobody there would hear it.`,
    });
  }
  // One that is connected here hears it at once, and may not have a row yet; the others are told by their own control process within a second.
  const here = new Map([...context.registry.entries()].map((entry) => [entry.hello.gatewayId, entry.connection]));
  const elsewhere = gateways.filter((gatewayId) => here.get(gatewayId)?.command?.(asked) !== true);
  await context.db.write((tx) => giveCommand(tx, elsewhere, asked));
  return { json: { worker: worker.instanceId, command: asked, gateways } };
}

async function findWorker(id: string, { readFleet }: ControlContext): Promise<WorkerView> {
  const worker = (await readFleet()).workers.find(({ instanceId }) => instanceId === id);
  if (worker === undefined) throw new ClavigerError('object_not_found', { what: `Worker ${id.slice(0, 100)}` });
  return worker;
}
