import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LoadedConfig, loadConfigFile } from './config-yaml.ts';
import type { Environment } from './environment-references.ts';
import { ConfigError } from './settings-error.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'config-yaml-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(text: string | Uint8Array, name = 'config.yaml'): string {
  const path = join(directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const load = (text: string | Uint8Array, env: Environment = {}): LoadedConfig => loadConfigFile(write(text), env);

function mistake(text: string | Uint8Array, env: Environment = {}): ConfigError {
  try {
    load(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the file was accepted');
}

describe('a configuration', () => {
  it('has LiteLLM’s sections', () => {
    const { source, warnings, ignoredKeys } = load(`
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_key: abc, weight: 2, temperature: 0.2}
    model_info: {id: one, anything: [1, two]}
litellm_settings: {request_timeout: 30}
general_settings: {master_key: sk-1234}
router_settings:
  num_retries: 1
`);
    expect(source).toEqual({
      models: [
        {
          modelName: 'gpt',
          litellmParams: { model: 'openai/gpt-4o', api_key: 'abc', weight: 2, temperature: 0.2 },
          modelInfo: { id: 'one', anything: [1, 'two'] },
        },
      ],
      litellmSettings: { request_timeout: 30 },
      generalSettings: { master_key: 'sk-1234' },
      routerSettings: { num_retries: 1 },
      environmentVariables: {},
    });
    expect([warnings, ignoredKeys]).toEqual([[], []]);
  });

  it.each(['', '# only a comment\n', '---\n', 'model_list:\n', 'general_settings: ~\n', '\ufeffmodel_list: []\n'])(
    'may be as empty as %j',
    (text) => {
      expect(load(text).source.models).toEqual([]);
    },
  );

  it('may use anchors and merge keys', () => {
    const { source } = load(`
x: &base {api_base: http://127.0.0.1:1/v1, api_key: k}
model_list:
  - model_name: a
    litellm_params: {<<: *base, model: openai/a}
`);
    expect(source.models[0]?.litellmParams).toEqual({
      api_base: 'http://127.0.0.1:1/v1',
      api_key: 'k',
      model: 'openai/a',
    });
  });

  it('reads YAML as LiteLLM does, without dates and sexagesimal numbers', () => {
    const { source } = load(`
model_list:
  - model_name: a
    litellm_params: {model: azure/a, api_version: 2024-10-21, output_cost_per_token: 1e-6, ssl_verify: yes}
litellm_settings: {budget_reset_time: 12:30}
`);
    expect(source.models[0]?.litellmParams).toEqual({
      model: 'azure/a',
      api_version: '2024-10-21',
      output_cost_per_token: 1e-6,
      ssl_verify: true,
    });
    expect(source.litellmSettings).toEqual({ budget_reset_time: '12:30' });
  });
});

describe('values', () => {
  it('become what they should be when their meaning is plain', () => {
    const { source } = load(
      `
model_list:
  - model_name: 007
    litellm_params: {model: openai/a, weight: "3", timeout: os.environ/T, api_version: 1.10}
general_settings: {allow_public_health_readiness_details: "True", max_request_size_mb: "10"}
router_settings: {num_retries: "4"}
`,
      { T: '12.5' },
    );
    expect(source.models[0]).toMatchObject({
      modelName: '007',
      litellmParams: { weight: 3, timeout: 12.5, api_version: '1.10' },
    });
    expect(source.generalSettings).toEqual({ allow_public_health_readiness_details: true, max_request_size_mb: 10 });
    expect(source.routerSettings).toEqual({ num_retries: 4 });
  });

  it.each([
    ['model_list: 5', 1, 'model_list must be a list, but it is an integer'],
    ['\nmodel_list:\n  a: b', 3, 'model_list must be a list, but it is a map'],
    ['model_list:\n  - just text', 2, 'model_list[0] must be a map, but it is a text'],
    [
      'model_list:\n  - model_name: [a]\n    litellm_params: {model: x}',
      2,
      'model_list[0].model_name must be a text, but it is a list',
    ],
    ['model_list:\n  - litellm_params: {model: x}', 2, 'model_list[0] has no model_name'],
    ['model_list:\n  - model_name: a', 2, 'model_list[0] has no litellm_params'],
    ['model_list:\n  - model_name: a\n    litellm_params: {api_key: x}', 3, 'litellm_params has no model'],
    [
      'general_settings:\n  max_request_size_mb: many',
      2,
      'general_settings.max_request_size_mb must be a number, but it is a text',
    ],
    [
      'router_settings:\n  timeout: 3\n  num_retries: 1.5',
      3,
      'router_settings.num_retries must be an integer, but it is a number',
    ],
    ['litellm_settings: []', 1, 'litellm_settings must be a map, but it is a list'],
    ['litellm_settings:\n  json_logs: maybe', 2, 'litellm_settings.json_logs must be true or false, but it is a text'],
    ['router_settings: {num_retries: .inf}', 1, 'router_settings.num_retries is not a finite number'],
    ['environment_variables: [A]', 1, 'environment_variables must be a map, but it is a list'],
    ['environment_variables:\n  A: [1]', 2, 'environment_variables.A must be a text, but it is a list'],
    ['include: other.yaml', 1, 'include must be a list of paths, but it is a text'],
  ])('of the wrong type stop with file, line and what was expected: %j', (text, line, sentence) => {
    const error = mistake(text);
    expect(error.message).toContain(`${join(directory, 'config.yaml')}:${line}: `);
    expect(error.message).toContain(sentence);
  });

  it('are never shown', () => {
    expect(mistake('general_settings: {database_connection_pool_limit: hunter2-secret}').message).not.toContain(
      'hunter2',
    );
  });
});

describe('a file that is no configuration', () => {
  it.each([
    ['- a\n- b', 1, 'the file is a list'],
    ['just words', 1, 'the file is a text'],
    ['a: 1\nb: [1, 2', 2, 'not valid YAML'],
    ['general_settings:\n  master_key: sk-secret-1\n  master_key: sk-secret-2', 3, 'keys must be unique'],
    ['a: 1\n---\nb: 2', 2, 'not valid YAML'],
    ['a:\n\t- b', 2, 'not valid YAML'],
    ['a: !!set {b, c}', 1, 'a is of a special YAML type'],
  ])('stops with file and line: %j', (text, line, sentence) => {
    const error = mistake(text);
    expect(error.message).toContain(sentence);
    expect(error.line).toBe(line);
    expect(error.message).not.toContain('sk-secret');
  });

  it('stops when it is missing, a directory, not UTF-8, or endless', () => {
    expect(() => loadConfigFile(join(directory, 'no.yaml'), {})).toThrow(/no\.yaml: the file does not exist.*--config/);
    expect(() => loadConfigFile(directory, {})).toThrow(/this is a directory/);
    expect(mistake(Buffer.from([0x61, 0x3a, 0x20, 0xff])).message).toContain('not UTF-8');
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (const [name, inner] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf'].map((pair) => pair.split(''))) {
      bomb.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${inner}`).join(',')}]`);
    }
    expect(mistake(bomb.join('\n')).message).toContain('can not be read');
    expect(mistake(`a: ${'['.repeat(200)}${']'.repeat(200)}`).message).toContain('nested more than 100 levels');
  });
});

describe('unknown keys', () => {
  it('are warned about with path and nearest known name, and do not stop the start', () => {
    const { warnings, source } = load(`
modle_list: []
general_settings:
  mastr_key: sk-1
  quite_something_else: 1
router_settings: {num_retrys: 1}
model_list:
  - model_name: a
    modle_info: {}
    litellm_params: {model: openai/a, api_bse: x}
`);
    const path = join(directory, 'config.yaml');
    expect(warnings).toEqual([
      `${path}:2: modle_list is not a known setting and has no effect. Did you mean model_list?`,
      `${path}:9: model_list[0].modle_info is not a known setting and has no effect. Did you mean model_info?`,
      `${path}:10: model_list[0].litellm_params.api_bse is not a known setting and is sent to the provider in each request. Did you mean api_base?`,
      `${path}:4: general_settings.mastr_key is not a known setting and has no effect. Did you mean master_key?`,
      `${path}:5: general_settings.quite_something_else is not a known setting and has no effect.`,
      `${path}:6: router_settings.num_retrys is not a known setting and has no effect. Did you mean num_retries?`,
    ]);
    expect(source.generalSettings).toMatchObject({ mastr_key: 'sk-1' });
  });

  it('of litellm_params and model_info pass silently when they are no near miss', () => {
    const { warnings, source } = load(`
model_list:
  - model_name: a
    litellm_params: {model: openai/a, max_completion_tokens: 5, my_field: {x: 1}, input_cost_per_token_above_200k_tokens: 1.0e-6}
    model_info: {whatever: 1}
`);
    expect(warnings).toEqual([]);
    expect(source.models[0]?.litellmParams).toMatchObject({ my_field: { x: 1 } });
  });

  it('of LiteLLM that have no effect yet are summed up in one line, unless they ask for nothing', () => {
    const { warnings, ignoredKeys } = load(`
model_list:
  - {model_name: a, litellm_params: {model: openai/a, max_retries: 5}}
  - {model_name: b, litellm_params: {model: openai/b, max_retries: 6}}
litellm_settings: {drop_params: true, cache: false, callbacks: [prometheus], telemetry: true}
router_settings: {routing_strategy: simple-shuffle, allowed_fails: 3}
`);
    expect(ignoredKeys).toEqual([
      'litellm_settings.drop_params',
      'model_list[].litellm_params.max_retries',
      'router_settings.allowed_fails',
    ]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(ignoredKeys.join(', '));
  });
});

describe('os.environ references', () => {
  it('are kept beside what they stand for, checked like the rest, because ids are derived from what is written', () => {
    const text = `
model_list:
  - model_name: a
    litellm_params: {model: openai/a, api_key: os.environ/KEY, rpm: os.environ/RPM, weight: "3", timeout: null}
  - model_name: b
    litellm_params: {model: openai/b, api_key: written}
`;
    const written = { model: 'openai/a', api_key: 'os.environ/KEY', rpm: 'os.environ/RPM', weight: 3 };
    expect(load(text, { KEY: 'secret', RPM: '5' }).source.models).toEqual([
      {
        modelName: 'a',
        litellmParams: { model: 'openai/a', api_key: 'secret', rpm: 5, weight: 3 },
        writtenParams: written,
        modelInfo: {},
      },
      { modelName: 'b', litellmParams: { model: 'openai/b', api_key: 'written' }, modelInfo: {} },
    ]);
    expect(load(text).source.models[0]?.writtenParams).toEqual(written);
  });

  it('are replaced at any depth', () => {
    const { source, warnings } = load(
      `
model_list:
  - model_name: os.environ/NAME
    litellm_params: {model: openai/a, extra_headers: {x: [os.environ/KEY]}}
general_settings: {master_key: os.environ/KEY}
`,
      { NAME: 'n', KEY: 'sk-k' },
    );
    expect(source.models[0]).toMatchObject({ modelName: 'n', litellmParams: { extra_headers: { x: ['sk-k'] } } });
    expect(source.generalSettings).toEqual({ master_key: 'sk-k' });
    expect(warnings).toEqual([]);
  });

  it('to nothing leave the setting out and are warned about', () => {
    const { source, warnings } = load(`model_list:
  - model_name: a
    litellm_params:
      model: openai/a
      api_key: os.environ/NOT_THERE
`);
    expect(source.models[0]?.litellmParams).toEqual({ model: 'openai/a' });
    expect(warnings).toEqual([
      `${join(directory, 'config.yaml')}:5: model_list[0].litellm_params.api_key refers to the environment variable NOT_THERE, which is not set.`,
    ]);
  });

  it('mean the environment_variables of the file first', () => {
    const { source } = load(
      `
general_settings: {master_key: os.environ/MINE}
environment_variables: {MINE: os.environ/THEIRS, FLAG: true, NUMBER: 5, GONE: os.environ/NOTHING}
`,
      { MINE: 'old', THEIRS: 'sk-new' },
    );
    expect(source.generalSettings).toEqual({ master_key: 'sk-new' });
    expect(source.environmentVariables).toEqual({ MINE: 'sk-new', FLAG: 'True', NUMBER: '5' });
  });
});

describe('include', () => {
  it('appends lists and replaces keys, relative to the file, at any depth', () => {
    write(
      'include: [deeper.yaml]\nmodel_list: [{model_name: b, litellm_params: {model: openai/b}}]',
      'more/models.yaml',
    );
    write(
      'router_settings: {num_retries: 9}\nmodel_list: [{model_name: c, litellm_params: {model: openai/c}}]',
      'more/deeper.yaml',
    );
    const { source, warnings, files } = load(`
include: [more/models.yaml]
model_list: [{model_name: a, litellm_params: {model: openai/a}}]
router_settings: {num_retries: 1, timeout: 5}
`);
    expect(source.models.map((model) => model.modelName)).toEqual(['a', 'b', 'c']);
    expect(source.routerSettings).toEqual({ num_retries: 9, timeout: 5 });
    expect(warnings).toEqual([
      `${join(directory, 'more/deeper.yaml')}:1: router_settings.num_retries replaces the value of ${join(directory, 'config.yaml')}.`,
    ]);
    expect(files).toEqual(['config.yaml', 'more/models.yaml', 'more/deeper.yaml'].map((name) => join(directory, name)));
  });

  it('names the included file and line of a mistake', () => {
    write('\nrouter_settings: 5', 'other.yaml');
    expect(mistake('include: [other.yaml]').message).toContain(
      `${join(directory, 'other.yaml')}:2: router_settings must be a map`,
    );
  });

  it('says where a missing file is included', () => {
    expect(mistake('a: 1\ninclude:\n  - gone.yaml').message).toMatch(
      /config\.yaml:3: gone\.yaml is included here.*does not exist/,
    );
  });

  it('refuses circles', () => {
    write('include: [config.yaml]', 'other.yaml');
    expect(mistake('include: [other.yaml]').message).toContain('config.yaml includes itself');
    expect(mistake('include: [config.yaml]').message).toContain('includes itself');
  });
});
