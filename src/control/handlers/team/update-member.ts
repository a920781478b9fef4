import { updateMemberRoute } from '../../../contract/routes/teams.ts';
import type { TeamMember } from '../../../domain/team-member.ts';
import { applyObjectFields, type FieldPlan } from '../../accounts/apply-object-fields.ts';
import { budgetMustExist } from '../../accounts/budget-objects.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { checkMoneyFields } from '../../accounts/check-money-fields.ts';
import { lockMember } from '../../accounts/members.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

const MEMBER_PLAN: FieldPlan<TeamMember> = {
  plain: ['max_budget', 'rpm_limit', 'tpm_limit', 'budget_id'],
  lists: ['models'],
  objects: [],
  flags: [],
  inMetadata: [],
  hasPeriod: true,
};

export const updateMemberEndpoint = endpoint(updateMemberRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { max_budget_in_team, allowed_models, role, ...rest } = body;
  checkMoneyFields({ max_budget_in_team });
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const team = await lockTeam(write, body.team_id);
    await mayChangeTeam(write.tx, caller, team.object);
    const stored = await lockMember(write, body.team_id, body);
    if (body.budget_id) await budgetMustExist(write, body.budget_id);
    const fields = { ...rest, max_budget: max_budget_in_team, models: allowed_models };
    const next = applyObjectFields(stored.object, fields, MEMBER_PLAN, moment);
    return replaceObject(write, 'team_member', stored, { ...next, role: role ?? stored.object.role });
  });
  const { team_id, user_id, user_email, max_budget, tpm_limit, rpm_limit, models, ...others } = value.object;
  return {
    json: {
      team_id,
      user_id,
      user_email,
      max_budget_in_team: max_budget,
      tpm_limit,
      rpm_limit,
      role: others.role,
      budget_duration: others.budget_duration,
      budget_id: others.budget_id,
      allowed_models: models,
    },
    rev,
  };
});
