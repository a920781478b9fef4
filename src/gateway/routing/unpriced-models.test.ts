import { expect, it } from 'vitest';
import type { Deployment } from '../../domain/deployment.ts';
import { UnpricedModels } from './unpriced-models.ts';

const deployment = (litellmModel: string, more: object = {}) =>
  ({ litellmModel, model: litellmModel, modelGroup: 'g', pricing: null, provider: 'openai', ...more }) as Deployment;
const configured = (...deployments: Deployment[]) => ({
  groups: new Map([['g', { name: 'g', accessGroups: [], deployments }]]),
  wildcards: [],
});

it('names a model without a price once, whatever asks how often', () => {
  const said: object[] = [];
  const unpriced = new UnpricedModels({ warn: (fields) => void said.push(fields) });
  const all = configured(
    deployment('openai/a'),
    deployment('openai/a'),
    deployment('openai/free', { pricing: { input: 0, output: 0 } }),
    deployment('fake/gpt', { provider: 'fake' }),
    deployment('openai/*'),
  );
  unpriced.noteAll(all);
  unpriced.noteAll(all);
  unpriced.note(deployment('openai/a'));
  unpriced.note(deployment('openai/b'));
  expect(said).toEqual([
    { model: 'openai/a', modelGroup: 'g' },
    { model: 'openai/b', modelGroup: 'g' },
  ]);
});
