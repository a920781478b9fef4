import { resetMemberSpendRoute } from '../../../contract/routes/teams.ts';
import { memberId } from '../../../domain/account.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { dollarsFromNano } from '../../../domain/money.ts';
import { teamMembers } from '../../../storage/repositories/team-members.ts';
import { budgetsOf, memberBudget } from '../../accounts/present-objects.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';
import { spendFrom } from '../key/store-key.ts';

/** Spend is no configuration: this makes no revision, and the answer carries no receipt. */
export const resetMemberSpendEndpoint = endpoint(resetMemberSpendRoute, async ({ query, body, caller }, { db }) => {
  const { team_id, user_id } = query;
  const spendNano = spendFrom(body.reset_to);
  return {
    json: await db.write(async (tx) => {
      const team = await lockTeam({ tx }, team_id);
      await mayChangeTeam(tx, caller, team.object);
      if (!isProxyAdmin(caller) && caller.userId === user_id) {
        throw new ClavigerError('forbidden', { reason: 'A team admin can not reset its own spend.' });
      }
      const id = memberId(team_id, user_id);
      const [member] = await teamMembers.lock(tx, [id]);
      if (member === undefined)
        throw new ClavigerError('object_not_found', { what: `User ${user_id} in team ${team_id}` });
      if (spendNano > member.spendNano) {
        throw new ClavigerError(
          'bad_request',
          { reason: `reset_to must be between 0 and what was spent, ${dollarsFromNano(member.spendNano)}.` },
          { param: 'reset_to' },
        );
      }
      await teamMembers.setSpend(tx, id, spendNano);
      const budget = memberBudget(member.object, await budgetsOf(tx, [member]));
      return {
        team_id,
        user_id,
        spend: dollarsFromNano(spendNano),
        previous_spend: dollarsFromNano(member.spendNano),
        max_budget: budget?.max_budget ?? null,
      };
    }),
  };
});
