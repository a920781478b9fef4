import { fleetRegionsRoute, fleetWorkersRoute } from '../../../contract/routes/fleet.ts';
import { viewRegions } from '../../fleet/fleet-view.ts';
import { endpoint } from '../handler.ts';
import { presentMoment, presentRegion, presentWorker } from './present-fleet.ts';

export const fleetWorkersEndpoint = endpoint(fleetWorkersRoute, async ({ query }, { readFleet }) => {
  const fleet = await readFleet({ mayBeStale: true });
  const workers = fleet.workers
    .filter(({ region }) => query.region === undefined || region === query.region)
    .filter(
      ({ state, gateways }) =>
        query.state === undefined || state === query.state || gateways.some((gateway) => gateway.state === query.state),
    );
  return { json: { ...presentMoment(fleet), workers: workers.map(presentWorker) } };
});

export const fleetRegionsEndpoint = endpoint(fleetRegionsRoute, async (_input, { readFleet }) => {
  const fleet = await readFleet({ mayBeStale: true });
  return { json: { ...presentMoment(fleet), regions: viewRegions(fleet.workers).map(presentRegion) } };
});
