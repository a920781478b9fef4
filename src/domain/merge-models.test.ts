import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { compileConfiguration, InvalidDeploymentError } from './compile-configuration.ts';
import { type ConfigSource, EMPTY_CONFIG_SOURCE, type ModelEntry } from './config-source.ts';
import { mergeModels } from './merge-models.ts';
import { modelIdOf } from './model-id.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

const sha256Hex = (text: string) => createHash('sha256').update(text).digest('hex');
const ofFile = (litellmParams: JsonObject, modelInfo: JsonObject = {}): ModelEntry => ({
  modelName: 'm',
  litellmParams,
  modelInfo,
});
const ofDatabase = (id: string, litellmParams: JsonObject, modelInfo: JsonObject = {}): ModelEntry => ({
  modelName: 'm',
  litellmParams,
  modelInfo: { ...modelInfo, id },
  origin: 'database',
});
const merge = (models: readonly ModelEntry[], database: readonly ModelEntry[]) =>
  mergeModels({ ...EMPTY_CONFIG_SOURCE, models }, database, sha256Hex);

describe('file and database together', () => {
  it('are all of both when no id is in both', () => {
    const own = ofFile({ model: 'fake/a' });
    const added = ofDatabase('x', { model: 'fake/b' });
    expect(merge([own], [added])).toEqual({ source: { ...EMPTY_CONFIG_SOURCE, models: [own, added] }, overrides: [] });
  });

  it('have the file win on the same id, and say so when it says something else', () => {
    const own = [ofFile({ model: 'fake/a' }, { id: 'x' }), ofFile({ model: 'fake/b' }, { id: 'y' })];
    const database = [ofDatabase('y', { model: 'fake/b' }), ofDatabase('x', { model: 'fake/other' })];
    const { source, overrides } = merge(own, database);
    expect(source.models).toEqual(own);
    expect(overrides).toEqual(['x']);
  });

  it('know an entry without id by what it says', () => {
    const params = { model: 'fake/a', rpm: 5 };
    const id = modelIdOf(ofFile(params), null, sha256Hex);
    expect(merge([ofFile(params)], [ofDatabase(id, { rpm: 5, model: 'fake/a' })])).toMatchObject({
      source: { models: [ofFile(params)] },
      overrides: [],
    });
  });

  it('know each of several organizations', () => {
    const entry = ofFile({ model: 'openai/x', organization: ['one', 'two'] });
    const id = modelIdOf(entry, 'two', sha256Hex);
    const same = ofDatabase(id, { model: 'openai/x', organization: 'two' });
    expect(merge([entry], [same])).toMatchObject({ source: { models: [entry] }, overrides: [] });
    expect(merge([entry], [ofDatabase(id, { model: 'openai/y' })]).overrides).toEqual([id]);
  });
});

describe('the id of an entry', () => {
  it('is that of what is written, whatever the environment says', () => {
    const written = { model: 'openai/x', api_key: 'os.environ/KEY' };
    const here = { ...ofFile({ model: 'openai/x', api_key: 'sk-1' }), writtenParams: written };
    const there = { ...ofFile({ model: 'openai/x' }), writtenParams: written };
    expect(modelIdOf(here, null, sha256Hex)).toBe(modelIdOf(there, null, sha256Hex));
    expect(modelIdOf(here, null, sha256Hex)).toBe(modelIdOf(ofFile(written), null, sha256Hex));
    expect(modelIdOf(here, null, sha256Hex)).not.toBe(modelIdOf(ofFile(here.litellmParams), null, sha256Hex));
  });
});

describe('regions', () => {
  const compile = (models: readonly ModelEntry[], region?: string, source: Partial<ConfigSource> = {}) =>
    compileConfiguration(
      { ...EMPTY_CONFIG_SOURCE, ...source, models },
      {
        prices: { find: () => null },
        envValue: () => undefined,
        sha256Hex,
        ...(region === undefined ? {} : { region }),
      },
    );
  const named = (modelName: string, regions?: JsonValue): ModelEntry => ({
    modelName,
    litellmParams: { model: `fake/${modelName}` },
    modelInfo: regions === undefined ? {} : { regions },
  });
  const namesIn = (region?: string) => [
    ...compile(
      [named('all'), named('none', []), named('eu', ['eu']), named('both', ['eu', 'us'])],
      region,
    ).configuration.groups.keys(),
  ];

  it('leave out what is not for the region, also from the file', () => {
    expect(namesIn('us')).toEqual(['all', 'none', 'both']);
    expect(namesIn('eu')).toEqual(['all', 'none', 'eu', 'both']);
    expect(namesIn('ap')).toEqual(['all', 'none']);
    expect(namesIn()).toEqual(['all', 'none', 'eu', 'both']);
  });

  it('leave a group with the deployments that are for the region', () => {
    const { configuration } = compile([named('m', ['eu']), named('m', ['us']), named('m')], 'us');
    expect(configuration.groups.get('m')?.deployments).toHaveLength(2);
  });

  it.each([['eu'], [[1]], [['eu', '']], [{ eu: true }]])(
    'that can not be read (%j) never mean everywhere',
    (regions) => {
      const { configuration, warnings } = compile([named('m', regions)], 'us');
      expect(configuration.groups.size).toBe(0);
      expect(warnings[0]).toMatch(/^model_list\[0\] \(m\) can not be used: model_info\.regions/);
      const strict = { routerSettings: { ignore_invalid_deployments: false } };
      expect(() => compile([named('m', regions)], 'us', strict)).toThrow(InvalidDeploymentError);
    },
  );
});
