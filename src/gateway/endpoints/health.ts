import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';
import type { Identity } from '../auth/authenticate.ts';
import type { Knowledge } from '../live/knowledge.ts';
import { allowsAll } from '../routing/resolve-model.ts';

/** The database counts as connected while knowledge is confirmed at least this often. */
const CONNECTED_AGE_MAX_MS = 5_000;

/** `/health/liveliness`: the process answers. */
export const ALIVE = "I'm alive!";

/**
 * `/health/readiness`: whether this process should get traffic. Not a question of database or control process: with a usable
 * snapshot it serves without them. `status` says what is degraded, `keys_beyond_fence` which classes of keys are refused for that, if any.
 */
export function readiness(
  knowledge: Knowledge,
  draining: boolean,
): { readonly status: number; readonly body: JsonObject } {
  const db = knowledge.ageMs() <= CONNECTED_AGE_MAX_MS ? 'connected' : 'disconnected';
  if (draining) return { status: 503, body: { status: 'draining', db } };
  // A snapshot whose age nobody can vouch for admits no key: it becomes usable with the first answer of a control process.
  if (knowledge.position === null || knowledge.stalenessMs('normal') === Number.POSITIVE_INFINITY) {
    return { status: 503, body: { status: 'starting', db } };
  }
  const refused = (['normal', 'strict'] as const).filter(
    (fence) => knowledge.stalenessMs(fence) > knowledge.fences[fence],
  );
  const isHealthy = db === 'connected' && refused.length === 0;
  const body = { status: isHealthy ? 'healthy' : 'degraded', db };
  return { status: 200, body: refused.length === 0 ? body : { ...body, keys_beyond_fence: refused } };
}

/** `/health`: the configured deployments that this key may use. They are not called: that would cost money at each probe. */
export function deploymentHealth(knowledge: Knowledge, { scope }: Identity, query: URLSearchParams): JsonValue {
  const { configuration } = knowledge;
  const model = query.get('model');
  const modelId = query.get('model_id');
  const endpoints: JsonObject[] = [];
  for (const group of [...configuration.groups.values(), ...configuration.wildcards]) {
    if (!allowsAll(scope.rules, configuration.resolve(group.name) ?? group)) continue;
    for (const deployment of group.deployments) {
      if (model !== null && model !== group.name && model !== deployment.litellmModel) continue;
      if (modelId !== null && modelId !== deployment.id) continue;
      endpoints.push({
        model: deployment.litellmModel,
        model_name: group.name,
        model_id: deployment.id,
        api_base: deployment.apiBase,
      });
    }
  }
  return { healthy_endpoints: endpoints, unhealthy_endpoints: [], healthy_count: endpoints.length, unhealthy_count: 0 };
}
