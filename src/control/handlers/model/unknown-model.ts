import { modelIdOf, organizationsOf } from '../../../domain/model-id.ts';
import { refuseModel } from '../../config/refuse-model.ts';
import { sha256Hex } from '../../config/validate-models.ts';
import type { ControlContext } from '../../context.ts';

/** LiteLLM's 400 for an id that no model of the database has; one of the file says where it is. */
export function unknownModel(id: string, { config }: ControlContext): Error {
  const isOfFile = config().models.some((entry) =>
    organizationsOf(entry.litellmParams.organization).some((name) => modelIdOf(entry, name, sha256Hex) === id),
  );
  return refuseModel(
    isOfFile
      ? `Model with id=${id} is a config model: it is in the configuration file of this instance and cannot be edited here.`
      : `Model with id=${id} not found in db`,
  );
}
