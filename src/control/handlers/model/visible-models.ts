import type { Configuration } from '../../../domain/configuration.ts';
import type { Deployment } from '../../../domain/deployment.ts';
import { textsOf } from '../../../domain/json-fields.ts';
import { compileModelAccess } from '../../../domain/model-access.ts';
import { modelIdOf, organizationsOf } from '../../../domain/model-id.ts';
import { storedModelFrom } from '../../../domain/stored-model.ts';
import { allModels } from '../../../storage/repositories/models.ts';
import { type Caller, isProxyAdmin } from '../../auth/caller.ts';
import { compileFleet, sha256Hex } from '../../config/validate-models.ts';
import type { ControlContext } from '../../context.ts';
import { type ListedModel, listedFromEntry, listedFromRecord } from './present-model.ts';

/** Models of the file, then those of the database, as far as the caller may use them. */
export async function visibleModels(caller: Caller, context: ControlContext): Promise<readonly ListedModel[]> {
  const { settings } = context;
  const records = settings.storeModelInDb ? (await context.db.read(allModels)).map((row) => row.model) : [];
  const file = context.config();
  const { configuration } = compileFleet(records.map(storedModelFrom), {
    file,
    envValue: context.envValue,
    prices: context.prices,
  });
  const deployments = deploymentsOf(configuration);
  const stored = new Set(records.map((record) => record.model_id));
  const listed = [
    ...file.models.map((entry) => {
      const [first = null] = organizationsOf(entry.litellmParams.organization);
      const id = modelIdOf(entry, first, sha256Hex);
      return listedFromEntry(entry, {
        id,
        deployment: deployments.get(id) ?? null,
        overridesDatabase: stored.has(id),
      });
    }),
    ...records.map((record) => listedFromRecord(record, deployments.get(record.model_id) ?? null)),
  ];
  return isProxyAdmin(caller) ? listed : listed.filter(allowedBy(caller, configuration));
}

function allowedBy(caller: Caller, configuration: Configuration): (model: ListedModel) => boolean {
  const access = compileModelAccess(caller.kind === 'key' ? caller.stored.key.models : []);
  return ({ modelInfo, modelName }) =>
    access.allows(
      configuration.resolve(modelName) ?? { name: modelName, accessGroups: textsOf(modelInfo.access_groups) },
    );
}

function deploymentsOf(configuration: Configuration): ReadonlyMap<string, Deployment> {
  const groups = [...configuration.groups.values(), ...configuration.wildcards];
  return new Map(groups.flatMap((group) => group.deployments).map((deployment) => [deployment.id, deployment]));
}
