import { fleetChangeRoute } from '../../../contract/routes/fleet.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { findChange } from '../../../storage/queries/fleet-changes.ts';
import { endpoint } from '../handler.ts';
import { presentWholeChange } from './present-change.ts';

export const fleetChangeEndpoint = endpoint(fleetChangeRoute, async ({ query }, { staleReads, receipts }) => {
  const change = await staleReads.read((tx) => findChange(tx, query.rev, query.epoch), query.rev);
  if (change === null) throw new ClavigerError('object_not_found', { what: `Revision ${query.rev}` });
  const { applied, pending } = await receipts.delivery(change);
  return { json: { ...presentWholeChange(change), delivery: { applied, pending } } };
});
