import { ownMembershipRoute } from '../../../contract/routes/teams.ts';
import { memberId } from '../../../domain/account.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { teamMembers } from '../../../storage/repositories/team-members.ts';
import { budgetsOf, presentMember } from '../../accounts/present-objects.ts';
import { endpoint } from '../handler.ts';

export const ownMembershipEndpoint = endpoint(ownMembershipRoute, async ({ query, caller }, { db }) => ({
  json: await db.read(async (tx) => {
    const member = caller.userId === null ? null : await teamMembers.find(tx, memberId(query.team_id, caller.userId));
    if (member === null)
      throw new ClavigerError('object_not_found', { what: `Your membership in team ${query.team_id}` });
    return presentMember(member, await budgetsOf(tx, [member]));
  }),
}));
