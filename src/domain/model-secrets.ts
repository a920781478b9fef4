/** Which parts of `litellm_params` are secrets, and what binds a sealed one to its place. */
import { mapSecrets, type OnSecret } from './sealed-secret.ts';
import type { JsonObject } from './virtual-key.ts';

/** Replaces each secret of `litellm_params`; paths begin with `litellm_params`. */
export function mapModelSecrets(params: JsonObject, onSecret: OnSecret): JsonObject {
  return mapSecrets(params, ROOT, isModelSecret, onSecret) as JsonObject;
}

/** What a sealed secret is bound to: it does not open in another model or field. */
export function modelSecretContext(modelId: string, path: string): string {
  return `model/${modelId}/${path}`;
}

export function isModelSecret(name: string, path: string): boolean {
  if (COST.test(name)) return false;
  return HEADER.test(path) ? HEADER_SECRET.test(name) : PARAM_SECRET.test(name);
}

export const ROOT = 'litellm_params';

/** Names such as `input_cost_per_token` end like secrets. */
const COST = /(^|_)cost(_|$)/;
/** The whole last word has to fit: `max_tokens` and `tokenizer` are none. */
const PARAM_SECRET =
  /^(.*[_-])?(api[_-]?key|secret([_-]?(access[_-]?)?key)?|access[_-]?key([_-]?id)?|private[_-]?key|subscription[_-]?key|password|passwd|token|credentials?|authorization|cookie)$/i;
const HEADER = /^litellm_params\.(extra_)?headers\./;
/** In headers anything that sounds like a secret is one. */
const HEADER_SECRET = /key|secret|token|password|credential|auth|cookie|signature/i;
