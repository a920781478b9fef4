/** The fields of a model as a request gives them, checked by the same table as `config.yaml`. */
import { picoFromDollarsPerUnit } from '../../domain/money.ts';
import { referencedName } from '../../domain/open-model.ts';
import { regionsProblem } from '../../domain/stored-model.ts';
import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';
import { typeSentence, valueAs } from '../../settings/check-section.ts';
import type { KnownKey } from '../../settings/known/known-key.ts';
import { LITELLM_PARAMS_KEYS, MODEL_INFO_KEYS } from '../../settings/known/litellm-params.ts';
import { refuseModel } from './refuse-model.ts';

/** Null asks for nothing and is left out. Throws a 400 with a sentence. */
export function readLitellmParams(given: JsonObject): JsonObject {
  const params = checked('litellm_params', given, LITELLM_PARAMS_KEYS);
  for (const name of ['model', 'custom_llm_provider']) {
    if (referencedName(params[name] ?? null) !== null) {
      throw refuseModel(`litellm_params.${name} must be written out: what a reference means can not be checked here.`);
    }
  }
  if (params.litellm_credential_name !== undefined) {
    throw refuseModel('litellm_params.litellm_credential_name: there are no named credentials in this version.');
  }
  const credentials = params.vertex_credentials;
  if (typeof credentials === 'object' && credentials !== null) params.vertex_credentials = JSON.stringify(credentials);
  for (const name of ['api_base', 'base_url']) {
    const base = params[name];
    if (typeof base === 'string' && USER_INFO.test(base)) {
      throw refuseModel(
        `litellm_params.${name} holds a user name or password. The address is shown to clients: use api_key or extra_headers.`,
      );
    }
  }
  return params;
}

/** What an answer adds to `model_info` and a client may send back. */
const COMPUTED = new Set([
  ...['db_model', 'overrides_db_model', 'key', 'litellm_provider', 'direct_access', 'access_via_team_ids'],
  ...['created_at', 'created_by', 'updated_at', 'updated_by'],
]);

export function readModelInfo(given: JsonObject): JsonObject {
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => !COMPUTED.has(name)));
  const info = checked('model_info', own, MODEL_INFO_KEYS);
  const problem = regionsProblem(info.regions);
  if (problem !== null) throw refuseModel(problem);
  if (info.team_id !== undefined) {
    throw refuseModel('model_info.team_id: models of one team are not served by this version; leave it out.');
  }
  return info;
}

/** The id that a request names: null when it names none. Throws a 400 for one that can not be an id. */
export function modelIdFrom(info: JsonObject | null | undefined): string | null {
  const id = info?.id ?? null;
  if (id === null || id === '') return null;
  const text = typeof id === 'number' ? String(id) : id;
  if (typeof text === 'string' && MODEL_ID.test(text)) return text;
  throw refuseModel(
    `model_info.id must be 1 to ${MODEL_ID_CHARS_MAX} visible ASCII characters: it travels in a header.`,
  );
}

const MODEL_ID_CHARS_MAX = 128;
const MODEL_ID = new RegExp(`^[\\x21-\\x7e]{1,${MODEL_ID_CHARS_MAX}}$`);
const USER_INFO = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i;
const PRICE = /(^|_)cost(_|$)/;

function checked(section: string, given: JsonObject, table: ReadonlyMap<string, KnownKey>): JsonObject {
  const fields: JsonObject = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === null) continue;
    const path = `${section}.${name}`;
    refuseSealed(value, path);
    const known = table.get(name);
    const types = known?.types ?? ['any'];
    const converted = valueAs(value, types);
    if (converted === undefined) throw refuseModel(typeSentence(path, value, types));
    if (PRICE.test(name)) refusePrice(converted, path);
    fields[name] = converted;
  }
  return fields;
}

/** The form that secrets have at rest is ours: nobody may put one there. */
function refuseSealed(value: JsonValue, path: string): void {
  if (typeof value !== 'object' || value === null) return;
  if (Object.hasOwn(value, '$sealed')) throw refuseModel(`${path}: the name $sealed is reserved.`);
  for (const [name, inner] of Object.entries(value)) refuseSealed(inner as JsonValue, `${path}.${name}`);
}

/** A wrong price is a wrong bill for everybody; in a file it is a warning, for the fleet it is refused. */
function refusePrice(value: JsonValue, path: string): void {
  if (typeof value !== 'number') return;
  try {
    picoFromDollarsPerUnit(value);
  } catch {
    throw refuseModel(`${path}: ${value} is not a usable price in dollars.`);
  }
}
