import { resolveGroup } from '../../domain/compile-configuration.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { Identity } from '../auth/authenticate.ts';
import { allowsAll, groupName } from '../routing/resolve-model.ts';

/** LiteLLM gives every model this date and owner. */
const CREATED = 1_677_610_602;
const OWNER = 'openai';

/** `GET /models`: what this key, its team and so on all may use. Wildcard groups are listed only on request, because no client can call `openai/*`. */
export function listModels(
  configuration: Configuration,
  { entry: { principal }, scope }: Identity,
  query: URLSearchParams,
): JsonValue {
  const { rules, teamAliases } = scope;
  const names: string[] = [];
  const groups = [...configuration.groups.values()];
  if (query.get('return_wildcard_routes') === 'true') groups.push(...configuration.wildcards);
  for (const group of groups) {
    if (allowsAll(rules, resolveGroup(configuration, group.name) ?? group)) names.push(group.name);
  }
  for (const [alias, target] of configuration.groupAliases) {
    if (configuration.hiddenAliases.has(alias)) continue;
    const resolved = resolveGroup(configuration, target);
    if (resolved !== null && allowsAll(rules, resolved)) names.push(alias);
  }
  for (const alias of [...Object.keys(principal.aliases), ...Object.keys(teamAliases)]) {
    const resolved = resolveGroup(configuration, groupName(configuration, principal, teamAliases, alias));
    if (resolved === null || allowsAll(rules, resolved)) names.push(alias);
  }
  return { data: [...new Set(names)].map(modelObject), object: 'list' };
}

/** `GET /models/{id}`. A model that this key may not use does not exist for it. */
export function getModel(configuration: Configuration, { entry, scope }: Identity, id: string): JsonValue {
  const name = groupName(configuration, entry.principal, scope.teamAliases, id);
  const resolved = resolveGroup(configuration, name);
  if (resolved === null || !allowsAll(scope.rules, resolved)) {
    throw new ClavigerError('model_id_not_found', { model: id });
  }
  return modelObject(id);
}

function modelObject(id: string): JsonValue {
  return { id, object: 'model', created: CREATED, owned_by: OWNER };
}
