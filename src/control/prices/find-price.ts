import { resolveGroup } from '../../domain/compile-configuration.ts';
import type { Pricing } from '../../domain/deployment.ts';
import { compileModelAccess } from '../../domain/model-access.ts';
import { providerOfBareName } from '../../domain/provider-catalogue.ts';
import { storedModelFrom } from '../../domain/stored-model.ts';
import { allModels } from '../../storage/repositories/models.ts';
import { type Caller, isProxyAdmin } from '../auth/caller.ts';
import { compileFleet } from '../config/validate-models.ts';
import type { ControlContext } from '../context.ts';

export interface FoundPrice {
  readonly provider: string;
  readonly pricing: Pricing;
}

/**
 * What a name costs: as a model of the fleet that the caller may use, else as `provider/model` of the price list. Null: no price is known.
 * With a region: as there.
 */
export async function findPrice(
  name: string,
  region: string | undefined,
  caller: Caller,
  context: ControlContext,
): Promise<FoundPrice | null> {
  const { config, envValue, prices, settings } = context;
  const records = settings.storeModelInDb ? (await context.db.read(allModels)).map((row) => row.model) : [];
  const { configuration } = compileFleet(records.map(storedModelFrom), {
    file: config(),
    envValue,
    prices,
    ...(region === undefined ? {} : { region }),
  });
  const group = resolveGroup(configuration, configuration.groupAliases.get(name) ?? name);
  const access = compileModelAccess(caller.kind === 'key' ? caller.stored.key.models : []);
  if (group !== null && (isProxyAdmin(caller) || access.allows(group))) {
    for (const { pricing, provider } of group.group.deployments) if (pricing !== null) return { provider, pricing };
  }
  const slash = name.indexOf('/');
  const provider = slash === -1 ? providerOfBareName(name) : name.slice(0, slash);
  const pricing = prices.find(provider, name.slice(slash + 1), null);
  return pricing === null ? null : { provider, pricing };
}
