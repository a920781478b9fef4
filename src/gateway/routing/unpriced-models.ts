import type { Configuration } from '../../domain/configuration.ts';
import type { Deployment } from '../../domain/deployment.ts';
import { FAKE_PROVIDER } from '../../domain/provider-catalogue.ts';
import { hasWildcard } from '../../domain/wildcard.ts';
import type { Log } from '../../observe/log.ts';

/** Models that are remembered as said; at the bound all are forgotten, and said again. */
const SAID_MAX = 2_000;

/** Says of each model without a price, once, that its calls cost nothing here. */
export class UnpricedModels {
  readonly #log: Pick<Log, 'warn'>;
  readonly #said = new Set<string>();

  constructor(log: Pick<Log, 'warn'>) {
    this.#log = log;
  }

  noteAll({ groups, wildcards }: Pick<Configuration, 'groups' | 'wildcards'>): void {
    for (const group of [...groups.values(), ...wildcards]) {
      for (const deployment of group.deployments) if (!hasWildcard(deployment.model)) this.note(deployment);
    }
  }

  note({ litellmModel, modelGroup, pricing, provider }: Deployment): void {
    if (pricing !== null || provider === FAKE_PROVIDER || this.#said.has(litellmModel)) return;
    if (this.#said.size >= SAID_MAX) this.#said.clear();
    this.#said.add(litellmModel);
    this.#log.warn({ model: litellmModel, modelGroup }, UNPRICED);
  }
}

const UNPRICED =
  'No price is known for this model: its calls cost 0 unless the provider says what they cost. Set input_cost_per_token and output_cost_per_token (0 for a model that is free), or model_info.base_model';
