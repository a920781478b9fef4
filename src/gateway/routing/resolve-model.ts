import { resolveGroup } from '../../domain/compile-configuration.ts';
import type { Configuration, ModelGroup } from '../../domain/configuration.ts';
import type { Deployment } from '../../domain/deployment.ts';
import { ClavigerError, listText } from '../../domain/error-catalogue.ts';
import { compileModelAccess, type ModelAccess } from '../../domain/model-access.ts';
import type { Principal } from '../../domain/virtual-key.ts';
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

/** Key aliases, then group aliases, then the group; then whether the key may use it. Throws `unknown_model` or `model_access_denied`. */
export function resolveModel(
  configuration: Configuration,
  principal: Principal,
  asked: string,
  route: string,
): ResolvedModel {
  const own = Object.hasOwn(principal.aliases, asked) ? principal.aliases[asked]! : asked;
  const name = configuration.groupAliases.get(own) ?? own;
  const resolved = resolveGroup(configuration, name);
  // Access comes before existence: a key that may use two models is not told which others exist.
  const access = accessOf(principal);
  if (!access.everything && !access.allows(resolved ?? { name, accessGroups: [] })) {
    throw new ClavigerError('model_access_denied', { object: 'key', models: listText(principal.models), model: asked });
  }
  if (resolved === null) throw new ClavigerError('unknown_model', { route, model: asked });
  return {
    requested: name,
    headerName: headerText(name),
    group: resolved.group,
    upstreamName: resolved.upstreamName,
  };
}

/** Compiled once per principal; a change of the key is a new principal. */
const COMPILED = new WeakMap<Principal, ModelAccess>();

export function accessOf(principal: Principal): ModelAccess {
  let access = COMPILED.get(principal);
  if (access === undefined) {
    access = compileModelAccess(principal.models);
    COMPILED.set(principal, access);
  }
  return access;
}
