import { fleetChangesRoute } from '../../../contract/routes/fleet.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { listChanges } from '../../../storage/queries/fleet-changes.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { endpoint } from '../handler.ts';
import { presentChange } from './present-change.ts';

export const fleetChangesEndpoint = endpoint(fleetChangesRoute, async ({ query }, { staleReads, tail }) => {
  const { kind, actor, limit, object } = query;
  const before = query.before === undefined ? null : positionFrom(query.before);
  const objectId = object === undefined ? undefined : (tokenOfArgument(object) ?? object);
  const changes = await staleReads.read(
    (tx) => listChanges(tx, { before, kind, objectId, actor, limit }),
    tail.position?.rev,
  );
  const last = changes.at(-1);
  const next = last !== undefined && changes.length === limit ? `${last.epoch}/${last.rev}` : null;
  return { json: { changes: changes.map(presentChange), next_before: next } };
});

/** `<epoch>/<rev>`. */
function positionFrom(text: string): { epoch: number; rev: number } {
  const [, epoch, rev] = /^(\d{1,9})\/(\d{1,15})$/.exec(text) ?? [];
  if (epoch !== undefined && rev !== undefined) return { epoch: Number(epoch), rev: Number(rev) };
  throw new ClavigerError(
    'bad_request',
    { reason: 'before must be what next_before of an earlier answer was.' },
    { param: 'before' },
  );
}
