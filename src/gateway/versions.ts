/** The version of LiteLLM whose outside behaviour this release follows; sent as `x-litellm-version`. */
export const LITELLM_CONTRACT_VERSION = '1.101.0';
