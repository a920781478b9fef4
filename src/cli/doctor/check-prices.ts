import type { Configuration } from '../../domain/configuration.ts';
import { FAKE_PROVIDER } from '../../domain/provider-catalogue.ts';
import { hasWildcard } from '../../domain/wildcard.ts';
import { type Check, ok, warn } from './check.ts';

/** Names in one line of the doctor. */
const NAMES_MAX = 20;

/** Does every model of the file have a price? Those of wildcards are known only when somebody asks for them. */
export function checkPrices({ groups, wildcards }: Pick<Configuration, 'groups' | 'wildcards'>): Check[] {
  const deployments = [...groups.values(), ...wildcards]
    .flatMap((group) => group.deployments)
    .filter(({ model, provider }) => provider !== FAKE_PROVIDER && !hasWildcard(model));
  if (deployments.length === 0) return [];
  const without = [
    ...new Set(deployments.filter(({ pricing }) => pricing === null).map((entry) => entry.litellmModel)),
  ];
  if (without.length === 0) return [ok('prices', `all of ${deployments.length} deployments have a price`)];
  const names = without.slice(0, NAMES_MAX).join(', ') + (without.length > NAMES_MAX ? ', ...' : '');
  return [
    warn(
      'prices',
      `no price is known for ${without.length} models, whose calls will cost 0: ${names}`,
      'Set input_cost_per_token and output_cost_per_token (0 for a model that is free), or model_info.base_model.',
    ),
  ];
}
