import { resolveGroup } from '../../domain/compile-configuration.ts';
import type { Configuration, ModelGroup } from '../../domain/configuration.ts';
import type { Deployment } from '../../domain/deployment.ts';
import { ClavigerError, listText } from '../../domain/error-catalogue.ts';
import type { ModelAccessTarget } from '../../domain/model-access.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import type { KeyScope, ModelRule } from '../auth/key-scope.ts';
import { headerText } from '../http/header-text.ts';

/** The model of a request, resolved and authorised. */
export interface ResolvedModel {
  /** What the client asked for, after aliases. For a wildcard group the concrete name. */
  readonly requested: string;
  /** `requested`, safe to be a header value. */
  readonly headerName: string;
  readonly group: ModelGroup;
  /** Model name to send to this deployment. */
  upstreamName(deployment: Deployment): string;
}

/**
 * Key aliases, then team aliases, then group aliases, then the group; then whether key, team and so on may use it. Throws `unknown_model` or
 * the refusal of the first who may not.
 */
export function resolveModel(
  configuration: Configuration,
  principal: Principal,
  { rules, teamAliases }: Pick<KeyScope, 'rules' | 'teamAliases'>,
  customerRule: ModelRule | null,
  asked: string,
  route: string,
): ResolvedModel {
  const name = groupName(configuration, principal, teamAliases, asked);
  const resolved = resolveGroup(configuration, name);
  // Access comes before existence: a key that may use two models is not told which others exist.
  const target = resolved ?? { name, accessGroups: [] };
  for (const rule of rules) if (!rule.access.allows(target)) throw refusalOf(rule, asked);
  if (customerRule !== null && !customerRule.access.allows(target)) throw refusalOf(customerRule, asked);
  if (resolved === null) throw new ClavigerError('unknown_model', { route, model: asked });
  return {
    requested: name,
    headerName: headerText(name),
    group: resolved.group,
    upstreamName: resolved.upstreamName,
  };
}

/** What the client calls a model, as the name of its group. */
export function groupName(
  configuration: Configuration,
  principal: Principal,
  teamAliases: KeyScope['teamAliases'],
  asked: string,
): string {
  const ofKey = Object.hasOwn(principal.aliases, asked) ? principal.aliases[asked]! : asked;
  const ofTeam = Object.hasOwn(teamAliases, ofKey) ? teamAliases[ofKey]! : ofKey;
  return configuration.groupAliases.get(ofTeam) ?? ofTeam;
}

/** Whether key, team, user and organization all may use it. */
export function allowsAll(rules: readonly ModelRule[], target: ModelAccessTarget): boolean {
  return rules.every(({ access }) => access.allows(target));
}

const DENIED = {
  key: 'model_access_denied',
  team: 'team_model_access_denied',
  'team member': 'team_model_access_denied',
  user: 'user_model_access_denied',
  org: 'org_model_access_denied',
  customer: 'user_model_access_denied',
} as const;

function refusalOf({ object, models }: ModelRule, asked: string): ClavigerError {
  return new ClavigerError(DENIED[object], { object, models: listText(models), model: asked });
}
