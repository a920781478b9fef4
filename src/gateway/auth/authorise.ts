import { ClavigerError, listText } from '../../domain/error-catalogue.ts';
import { decide, type InstanceFlags, type Route, routeAllowedForKey } from '../../domain/route-class.ts';
import { accountText } from './account-text.ts';
import type { Identity } from './authenticate.ts';

/**
 * What a key must pass on every route that is answered here: the switches of the instance, its own routes, its regions and those of its team and
 * organization. Throws the 403.
 */
export function authorise(
  { entry, scope }: Identity,
  route: Route,
  path: string,
  { flags, region }: { readonly flags: InstanceFlags; readonly region: string },
): void {
  const decision = decide(route, flags);
  if (decision === 'disabled_management') throw new ClavigerError('management_routes_disabled');
  if (decision === 'disabled_llm') throw new ClavigerError('llm_routes_disabled');
  const { allowedRoutes, allowedRegions } = entry.principal;
  if (!routeAllowedForKey(allowedRoutes, path)) {
    throw new ClavigerError('route_not_allowed_for_key', { routes: listText(allowedRoutes), route: path });
  }
  // Refused, and never sent to a region that would serve it: where data may go is the reason for the list.
  if (allowedRegions.length > 0 && !allowedRegions.includes(region)) {
    throw new ClavigerError('region_not_allowed_for_key', { region, regions: listText(allowedRegions) });
  }
  for (const account of scope.regional) {
    if (account.allowedRegions.includes(region)) continue;
    throw new ClavigerError('region_not_allowed_for_account', {
      account: accountText(account),
      region,
      regions: listText(account.allowedRegions),
    });
  }
}
