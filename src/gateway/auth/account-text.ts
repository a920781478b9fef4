import type { Account } from '../../domain/account.ts';

const NAMES: Readonly<Record<Account['kind'], string>> = {
  team: 'Team',
  team_member: 'TeamMember',
  user: 'User',
  organization: 'Organization',
  customer: 'EndUser',
  tag: 'Tag',
  budget: 'Budget',
};

/** An account in a message: `Team=<id>`, as LiteLLM's clients match on. */
export function accountText({ kind, id }: Pick<Account, 'kind' | 'id'>): string {
  return `${NAMES[kind]}=${id}`;
}
