import { resolveGroup } from '../../domain/compile-configuration.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { JsonValue, Principal } from '../../domain/virtual-key.ts';
import { accessOf } from '../routing/resolve-model.ts';

/** LiteLLM gives every model this date and owner. */
const CREATED = 1_677_610_602;
const OWNER = 'openai';

/** `GET /models`: what this key may use. Wildcard groups are listed only on request, because no client can call `openai/*`. */
export function listModels(configuration: Configuration, principal: Principal, query: URLSearchParams): JsonValue {
  const access = accessOf(principal);
  const names: string[] = [];
  const groups = [...configuration.groups.values()];
  if (query.get('return_wildcard_routes') === 'true') groups.push(...configuration.wildcards);
  for (const group of groups) {
    if (access.allows(resolveGroup(configuration, group.name) ?? group)) names.push(group.name);
  }
  for (const [alias, target] of configuration.groupAliases) {
    if (configuration.hiddenAliases.has(alias)) continue;
    const resolved = resolveGroup(configuration, target);
    if (resolved !== null && access.allows(resolved)) names.push(alias);
  }
  for (const alias of Object.keys(principal.aliases)) names.push(alias);
  return { data: [...new Set(names)].map(modelObject), object: 'list' };
}

/** `GET /models/{id}`. A model that this key may not use does not exist for it. */
export function getModel(configuration: Configuration, principal: Principal, id: string): JsonValue {
  const own = Object.hasOwn(principal.aliases, id) ? principal.aliases[id]! : id;
  const name = configuration.groupAliases.get(own) ?? own;
  const resolved = resolveGroup(configuration, name);
  if (resolved === null || !accessOf(principal).allows(resolved)) {
    throw new ClavigerError('model_id_not_found', { model: id });
  }
  return modelObject(id);
}

function modelObject(id: string): JsonValue {
  return { id, object: 'model', created: CREATED, owned_by: OWNER };
}
