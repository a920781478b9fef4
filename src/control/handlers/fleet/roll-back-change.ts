import { rollBackRoute } from '../../../contract/routes/fleet.ts';
import { publish } from '../../config/publish.ts';
import { rollBack } from '../../config/roll-back.ts';
import { endpoint } from '../handler.ts';

export const rollBackEndpoint = endpoint(rollBackRoute, async ({ query, body, caller, origin }, context) => {
  const { rev, epoch } = query;
  const request = { rev, epoch, dryRun: body.dry_run, confirm: body.confirm, caller, origin };
  const { change, differences, needsConfirm, stretch } = await rollBack(request, context);
  if (stretch !== null) await publish(stretch, context);
  return {
    json: {
      rolled_back: change.rev,
      rev: stretch?.to ?? null,
      dry_run: body.dry_run,
      kind: change.kind,
      object: change.objectId,
      op: change.op,
      differences,
      needs_confirm: needsConfirm,
    },
    rev: stretch?.to,
  };
});
