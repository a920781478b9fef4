import { acted, keyTable, later } from './known-key.ts';

export const TOP_LEVEL_KEYS = keyTable([
  acted('model_list', 'list', 'The deployments; see below.'),
  acted('litellm_settings', 'map', 'See below.'),
  acted('general_settings', 'map', 'See below.'),
  acted('router_settings', 'map', 'See below.'),
  acted(
    'environment_variables',
    'map',
    'Variables that are set for this instance when the file is read; they replace those of the environment.',
  ),
  acted(
    'include',
    'list',
    'Further files, relative to this one, that are merged into it: lists are appended, keys of an included file replace equal ones.',
  ),
  ...later('map', 'callback_settings files_settings', 'Integrations and file storage.'),
  ...later('list|map', 'guardrails policies prompts finetune_settings assistant_settings agent_list'),
  ...later('map|list', 'mcp_servers mcp_toolsets', 'MCP gateway.'),
  ...later('list', 'vector_store_registry search_tools credential_list worker_registry'),
  ...later('list|map', 'model_group_settings'),
]);

/** Keys of one entry of `model_list`. */
export const MODEL_ENTRY_KEYS = keyTable([
  acted('model_name', 'string', 'Public name of the group; may contain `*`. Required.'),
  acted('litellm_params', 'map', 'How the deployment is called; `model` is required.'),
  acted('model_info', 'map', 'What is known about the deployment; any further key is kept.'),
]);
