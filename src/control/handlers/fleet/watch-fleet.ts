import { fleetEventsRoute } from '../../../contract/routes/fleet.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { EVENT_LISTENERS_MAX } from '../../fleet/fleet-events.ts';
import { endpoint } from '../handler.ts';

export const fleetEventsEndpoint = endpoint(fleetEventsRoute, async ({ lastEventId }, { fleetEvents }) => {
  const events = fleetEvents.listen(lastEventId);
  if (events === null) {
    throw new ClavigerError('conflict', {
      reason: `${EVENT_LISTENERS_MAX} listeners follow the fleet on this instance already.`,
    });
  }
  return { json: null, events };
});
