import { patchTeamRoute, updateTeamRoute } from '../../../contract/routes/teams.ts';
import type { TeamFields } from '../../../contract/schemas/team.ts';
import type { Revision } from '../../../domain/change.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { objectOf } from '../../../domain/json-fields.ts';
import type { JsonObject, JsonValue } from '../../../domain/virtual-key.ts';
import type { Tx } from '../../../storage/db.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { isOrganizationAdmin, mayChangeTeam } from '../../accounts/rights.ts';
import {
  applyTeamFields,
  checkWithinOrganization,
  lockTeam,
  refuseMemberBudget,
  refuseRaise,
  withMemberBudget,
} from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import type { Caller } from '../../auth/caller.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput } from '../handler.ts';

export const updateTeamEndpoint = endpoint(updateTeamRoute, async (input, context) => {
  const { team_id, ...fields } = input.body;
  const { value, rev } = await updateTeam(team_id, fields, input, context);
  return { json: { team_id, data: value }, rev };
});

/** RFC 7396, for `metadata` too: what is null in the patch is removed, objects are merged. */
export const patchTeamEndpoint = endpoint(patchTeamRoute, async (input, context) => {
  const { value, rev } = await updateTeam(input.query.team_id, input.body, input, context, mergePatch);
  return { json: value, rev };
});

type MergeMetadata = (stored: JsonObject, patch: JsonObject) => JsonObject;

async function updateTeam(
  teamId: string,
  fields: TeamFields,
  { caller, origin }: Pick<HandlerInput<unknown, unknown>, 'caller' | 'origin'>,
  context: ControlContext,
  merge?: MergeMetadata,
): Promise<{ value: JsonObject; rev: Revision | undefined }> {
  const moment = momentOf(context, caller);
  return writeObjects(context, origin, async (write) => {
    const stored = await lockTeam(write, teamId);
    const role = await mayChangeTeam(write.tx, caller, stored.object);
    const metadata = objectOf(fields.metadata as JsonValue | undefined);
    const merged = metadata !== null && merge !== undefined ? merge(stored.object.metadata, metadata) : fields.metadata;
    const next = applyTeamFields(stored.object, { ...fields, metadata: merged }, moment);
    if (role === 'team admin') {
      refuseRaise(stored.object, next);
      refuseMemberBudget(fields);
    }
    const isMoved = next.organization_id !== stored.object.organization_id;
    if (role === 'organization admin' && isMoved) await mayMoveTo(write.tx, caller, next.organization_id);
    await checkWithinOrganization(write, next);
    const team = await withMemberBudget(write, next, fields, moment);
    const op = team.blocked === stored.object.blocked ? 'updated' : team.blocked ? 'blocked' : 'unblocked';
    const replaced = await replaceObject(write, 'team', stored, team, op);
    return presentTeam(replaced, await membersOf(write, teamId));
  });
}

/** Out of all organizations, and so out of their bounds, only a proxy admin moves a team. */
async function mayMoveTo(tx: Tx, caller: Caller, organizationId: string | null): Promise<void> {
  if (await isOrganizationAdmin(tx, caller, organizationId)) return;
  throw new ClavigerError(
    'forbidden',
    { reason: 'An organization admin can move a team only into another organization that it administers.' },
    { param: 'organization_id' },
  );
}

/** The bound on the depth of a body bounds this too. */
function mergePatch(stored: JsonObject, patch: JsonObject): JsonObject {
  const merged: JsonObject = { ...stored };
  for (const [name, value] of Object.entries(patch)) {
    const inner = objectOf(value);
    if (value === null) delete merged[name];
    else merged[name] = inner === null ? value : mergePatch(objectOf(merged[name]) ?? {}, inner);
  }
  return merged;
}
