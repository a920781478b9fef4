import { describe, expect, it } from 'vitest';
import { BODY_FIELDS, LITELLM_PARAMS_KEYS } from '../settings/known/litellm-params.ts';
import { isControlParam, isPerRequestField } from './litellm-params.ts';

describe('litellm_params', () => {
  it('has no setting that would be sent to a provider', () => {
    const leaking = [...LITELLM_PARAMS_KEYS.keys()].filter((name) => !isControlParam(name));
    expect(leaking).toEqual([]);
    expect(
      ['input_cost_per_token_above_200k_tokens', 'output_cost_per_image_batches', 'vertex_credentials'].every(
        isControlParam,
      ),
    ).toBe(true);
  });

  it('sends every field of a request body as a default, unless only the request can decide it', () => {
    const kept = [...BODY_FIELDS].filter((name) => isControlParam(name));
    expect(kept).toEqual([]);
    expect([...BODY_FIELDS].filter(isPerRequestField).sort()).toEqual(['stream', 'stream_options']);
  });
});
