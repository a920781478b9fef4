import { describe, expect, it } from 'vitest';
import { LITELLM_PARAMS_KEYS } from '../settings/known/litellm-params.ts';
import { isModelSecret, mapModelSecrets } from './model-secrets.ts';

describe('secrets in litellm_params', () => {
  it.each([
    ...['api_key', 'aws_access_key_id', 'aws_secret_access_key', 'aws_session_token', 'aws_web_identity_token'],
    ...[
      'vertex_credentials',
      'azure_ad_token',
      'azure_password',
      'client_secret',
      'api-key',
      'my_private_key',
      'access_token',
    ],
  ])('%s is one', (name) => expect(isModelSecret(name, `litellm_params.${name}`)).toBe(true));

  it.each([
    ...[
      'model',
      'max_tokens',
      'max_completion_tokens',
      'input_cost_per_token',
      'cache_read_input_token_cost',
      'tokenizer',
    ],
    ...[
      'api_base',
      'client_id',
      'tenant_id',
      'aws_region_name',
      'vertex_project',
      'litellm_credential_name',
      'prompt_cache_key',
    ],
  ])('%s is none', (name) => expect(isModelSecret(name, `litellm_params.${name}`)).toBe(false));

  it('are found among all known settings as a person would find them', () => {
    const found = [...LITELLM_PARAMS_KEYS.keys()].filter((name) => isModelSecret(name, `litellm_params.${name}`));
    expect(found.sort()).toEqual([
      'api_key',
      'aws_access_key_id',
      'aws_secret_access_key',
      'aws_session_token',
      'aws_web_identity_token',
      'azure_ad_token',
      'azure_password',
      'client_secret',
      'vertex_credentials',
    ]);
  });

  it('are found at any depth, in headers by whatever sounds like one', () => {
    const paths: string[] = [];
    const params = {
      extra_headers: { Authorization: 'a', 'X-Auth-Id': 'b', 'x-tenant': 'c' },
      headers: { Cookie: 'd' },
      extra_body: { list: [{ password: 'e', max_tokens: 'f' }], api_key: 5 },
      api_key: { $sealed: 'c1:00000000:x', fingerprint: '', shown: '****' },
    };
    const mapped = mapModelSecrets(params, (_value, path) => {
      paths.push(path);
      return 'hidden';
    });
    expect(paths).toEqual([
      'litellm_params.extra_headers.Authorization',
      'litellm_params.extra_headers.X-Auth-Id',
      'litellm_params.headers.Cookie',
      'litellm_params.extra_body.list.0.password',
      'litellm_params.api_key',
    ]);
    expect(mapped).toMatchObject({ extra_headers: { 'x-tenant': 'c' }, extra_body: { api_key: 5 }, api_key: 'hidden' });
  });
});
