import { giveCommand } from '../../storage/repositories/fleet.ts';
import type { ControlContext } from '../context.ts';

/** The gateway process of an instance that keeps its price list. */
const KEEPER = /\/0$/;

/** Has every instance that can be reached read its price list again. Returns who was asked. */
export async function askToReloadPrices({
  db,
  readFleet,
  registry,
}: Pick<ControlContext, 'db' | 'readFleet' | 'registry'>): Promise<string[]> {
  const here = new Map([...registry.entries()].map((entry) => [entry.hello.gatewayId, entry.connection]));
  const elsewhere = (await readFleet()).workers
    .flatMap((worker) => worker.gateways)
    .filter(({ state }) => state !== 'lost' && state !== 'left')
    .map(({ row }) => row.gatewayId);
  const gateways = [...new Set([...here.keys(), ...elsewhere])].filter((id) => KEEPER.test(id)).sort();
  // One that is connected here hears it at once; the others are told by their own control process within a second.
  const untold = gateways.filter((id) => here.get(id)?.command?.('reload-prices') !== true);
  await db.write((tx) => giveCommand(tx, untold, 'reload-prices'));
  return gateways;
}
