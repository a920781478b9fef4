import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ConfigSource, EMPTY_CONFIG_SOURCE } from '../../domain/config-source.ts';
import type { Configuration } from '../../domain/configuration.ts';
import { modelSecretContext } from '../../domain/model-secrets.ts';
import { DATABASE_MODELS_MAX, STORED_MODEL_BYTES_MAX, type StoredModel } from '../../domain/stored-model.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import { createLog } from '../../observe/log.ts';
import { fingerprint, seal } from '../../util/sealed-value.ts';
import { ConfigurationGuard, GOOD_FILE, TRIAL_FILE } from './configuration-guard.ts';
import { CRASHES_MAX, CRASHES_WITHOUT_GOOD_MAX } from './configuration-trial.ts';
import { LiveConfiguration } from './live-configuration.ts';

const SALT = 'salt of the tests';
const TRIAL_MS = 1_000;

let directory: string;
let lines: string[];
let file: ConfigSource | Error;
let store: { models: Map<string, StoredModel>; configRev: number };
let swapped: Configuration[];
let env: Record<string, string>;

beforeEach(() => {
  vi.useFakeTimers();
  directory = mkdtempSync(join(tmpdir(), 'claviger-live-'));
  lines = [];
  file = EMPTY_CONFIG_SOURCE;
  store = { models: new Map(), configRev: 0 };
  swapped = [];
  env = {};
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

const log = createLog({ level: 'info', json: true, write: (text) => lines.push(...text.split('\n').filter(Boolean)) });
const logged = (pattern: RegExp) => lines.filter((line) => pattern.test(line));

function model(id: string, litellmParams: JsonObject = {}, modelInfo: JsonObject = {}): StoredModel {
  return {
    id,
    modelName: id,
    litellmParams: { model: `fake/${id}`, ...litellmParams },
    modelInfo: { ...modelInfo, id },
  };
}

function sealed(id: string, field: string, plain: string, key = SALT): JsonObject {
  const context = modelSecretContext(id, `litellm_params.${field}`);
  return { [field]: { $sealed: seal(plain, key, context), fingerprint: fingerprint(plain, key), shown: '****' } };
}

function start(settings: { region?: string; storeModelInDb?: boolean } = {}) {
  const guard = new ConfigurationGuard({ directory, log, trialMs: TRIAL_MS });
  const live = new LiveConfiguration({
    store,
    settings: { region: 'eu', sealingKey: SALT, storeModelInDb: true, ...settings },
    readFile: () => {
      if (file instanceof Error) throw file;
      return file;
    },
    prices: { find: () => null },
    envValue: (name) => env[name],
    guard,
    log,
    onChange: (configuration) => swapped.push(configuration),
  });
  return { guard, live };
}

async function passTrial({ guard }: { guard: ConfigurationGuard }): Promise<void> {
  vi.advanceTimersByTime(TRIAL_MS);
  await guard.saved;
}

function put(...models: StoredModel[]): void {
  for (const added of models) store.models.set(added.id, added);
  store.configRev += 1;
}

const names = (configuration: Configuration) => [...configuration.groups.keys()].sort();
const fileWith = (...models: StoredModel[]): ConfigSource => ({
  ...EMPTY_CONFIG_SOURCE,
  models: models.map(({ modelName, litellmParams, modelInfo }) => ({ modelName, litellmParams, modelInfo })),
});

describe('file and database', () => {
  it('are one configuration, which follows every change of either', () => {
    file = fileWith(model('file'));
    put(model('a'));
    const { live } = start();
    expect(names(live.current)).toEqual(['a', 'file']);
    expect(live.report()).toEqual({ rev: 1, rejected: null, hash: live.current.hash, overrides: [] });

    put(model('b'));
    live.storeChanged();
    expect(names(live.current)).toEqual(['a', 'b', 'file']);
    expect(swapped).toEqual([live.current]);
    expect(live.report().rev).toBe(2);

    store.models.delete('a');
    store.configRev = 5;
    live.storeChanged();
    expect(names(live.current)).toEqual(['b', 'file']);

    file = fileWith(model('other'));
    live.reload();
    expect(names(live.current)).toEqual(['b', 'other']);
    expect(swapped).toHaveLength(3);
  });

  it('are compiled again only when a model has changed', () => {
    put(model('a'));
    const { live } = start();
    live.storeChanged();
    store.configRev = 7;
    live.storeChanged();
    expect(swapped).toEqual([]);
    expect(live.report().rev).toBe(7);
  });

  it('have the file win, and report what it replaces', () => {
    file = fileWith(model('same'), model('x', { model: 'fake/file' }));
    put(model('same'), model('x', { model: 'fake/database' }), model('y'));
    const { live } = start();
    expect(live.current.groups.get('x')?.deployments.map(({ model: name }) => name)).toEqual(['file']);
    expect(live.overrides).toEqual(['x']);
    expect(live.report().overrides).toEqual(['x']);
    expect(logged(/on this instance the file counts/)).toHaveLength(1);
    put(model('x', { model: 'fake/file' }));
    live.storeChanged();
    expect(live.overrides).toEqual([]);
  });

  it('leave out what is for other regions, from both', () => {
    file = fileWith(model('file-eu', {}, { regions: ['eu'] }), model('file-us', {}, { regions: ['us'] }));
    put(model('eu', {}, { regions: ['eu', 'us'] }), model('us', {}, { regions: ['us'] }));
    expect(names(start().live.current)).toEqual(['eu', 'file-eu']);
    expect(names(start({ region: 'us' }).live.current)).toEqual(['eu', 'file-us', 'us']);
  });

  it('are the file alone where models are not kept in the database', () => {
    file = fileWith(model('file'));
    put(model('a'));
    const { live } = start({ storeModelInDb: false });
    expect(names(live.current)).toEqual(['file']);
    expect(live.report()).toMatchObject({ rev: 1, rejected: null });
  });
});

describe('secrets', () => {
  it('are opened for the deployment, and hidden from the log', () => {
    put(model('a', sealed('a', 'api_key', 'a-secret-of-a-provider')));
    const { live } = start();
    expect(live.current.groups.get('a')?.deployments[0]?.apiKey).toBe('a-secret-of-a-provider');
    log.info({}, 'says a-secret-of-a-provider');
    expect(lines.join()).not.toContain('a-secret-of-a-provider');
  });

  it('come from the environment of the worker where the model says so', () => {
    env = { EU_KEY: 'key-of-the-worker' };
    put(model('a', { api_key: 'os.environ/EU_KEY' }), model('b', { api_key: 'os.environ/MISSING' }));
    const { live } = start();
    expect(live.current.groups.get('a')?.deployments[0]?.apiKey).toBe('key-of-the-worker');
    expect(live.current.groups.get('b')?.deployments[0]?.apiKey).toBeNull();
    expect(
      logged(/Model b \(b\) of the database refers to the environment variable MISSING, which is not set here/),
    ).toHaveLength(1);
  });

  it('that do not open make their model unusable, and nothing else', () => {
    file = { ...EMPTY_CONFIG_SOURCE, routerSettings: { ignore_invalid_deployments: false } };
    put(
      model('a', sealed('a', 'api_key', 'x', 'another salt')),
      model('b'),
      model('c', sealed('b', 'api_key', 'moved')),
    );
    const { live } = start();
    expect(names(live.current)).toEqual(['b']);
    expect(live.report().rejected).toBeNull();
    expect(logged(/Model a \(a\) of the database can not be used here: .*Set LITELLM_SALT_KEY/)).toHaveLength(1);
    expect(logged(/Model c \(c\).*moved here from another place/)).toHaveLength(1);
  });

  it('and other warnings are said once, not with each change of something else', () => {
    put(model('a', { api_key: 'os.environ/MISSING' }));
    const { live } = start();
    for (let n = 0; n < 5; n++) {
      put(model('b', { rpm: n }));
      live.storeChanged();
    }
    expect(logged(/MISSING/)).toHaveLength(1);
  });
});

describe('a configuration that can not be used', () => {
  /** What a newer control plane might send. */
  const strict = (...models: StoredModel[]): ConfigSource => ({
    ...fileWith(...models),
    routerSettings: { ignore_invalid_deployments: false },
  });

  it('is rejected with its reason, the one before stays, and the next one is tried', () => {
    file = strict(model('file'));
    put(model('a'));
    const { live } = start();
    const before = live.current;
    put(model('b', { model: 'nobody/x' }));
    live.storeChanged();
    live.storeChanged();
    expect(live.current).toBe(before);
    expect(live.report()).toMatchObject({
      rev: 1,
      rejected: { rev: 2, reason: expect.stringMatching(/^Model b \(b\) of the database can not be used: nobody/) },
    });
    expect(logged(/the configuration before stays in force/)).toHaveLength(1);
    put(model('b'));
    live.storeChanged();
    expect(names(live.current)).toEqual(['a', 'b', 'file']);
    expect(live.report()).toMatchObject({ rev: 3, rejected: null });
  });

  it('at a start leaves the last good one, or the file alone', async () => {
    file = strict(model('file'));
    put(model('a'));
    const first = start();
    await passTrial(first);
    put(model('b', { model: 'nobody/x' }));
    first.live.storeChanged();
    const second = start();
    expect(names(second.live.current)).toEqual(['a', 'file']);
    expect(second.live.report()).toMatchObject({ rev: 1, rejected: { rev: 2 } });
    rmSync(join(directory, GOOD_FILE), { force: true });
    expect(names(start().live.current)).toEqual(['file']);
  });

  it('is one with more models, or larger ones, than the control plane lets pass', () => {
    const { live } = start();
    put(model('a', { text: 'x'.repeat(STORED_MODEL_BYTES_MAX) }));
    live.storeChanged();
    expect(live.report().rejected?.reason).toMatch(/Model a of the database is \d+ bytes; 32768 are the most/);
    store.models.clear();
    put(...Array.from({ length: DATABASE_MODELS_MAX + 1 }, (_, n) => model(`m${n}`)));
    live.storeChanged();
    expect(live.report()).toMatchObject({
      rev: 0,
      rejected: { rev: 2, reason: expect.stringMatching(/2001 models.*2000 are the most/) },
    });
  });

  it('does not keep a new file out, and a bad file changes nothing', () => {
    file = strict(model('file'));
    put(model('a'));
    const { live } = start();
    put(model('b', { model: 'nobody/x' }));
    live.storeChanged();
    file = strict(model('file-2'));
    live.reload();
    expect(names(live.current)).toEqual(['a', 'file-2']);
    expect(live.report()).toMatchObject({ rev: 1, rejected: { rev: 2 } });

    file = strict(model('c', { model: 'nobody/y' }));
    expect(() => live.reload()).toThrow(/model_list\[0\] \(c\) can not be used/);
    file = new Error('line 5');
    expect(() => live.reload()).toThrow('line 5');
    expect(names(live.current)).toEqual(['a', 'file-2']);
    put(model('b'));
    live.storeChanged();
    expect(names(live.current)).toEqual(['a', 'b', 'file-2']);
  });

  it('of the file alone ends the start', () => {
    file = strict(model('c', { model: 'nobody/y' }));
    put(model('a'));
    expect(() => start()).toThrow(/model_list\[0\] \(c\) can not be used/);
  });

  it('does not tell a secret in its reason', () => {
    file = strict();
    put(model('a', { model: 'nobody/x', ...sealed('a', 'api_key', 'a-secret-of-a-provider') }));
    expect(JSON.stringify(start().live.report())).not.toContain('a-secret');
  });
});

describe('the guard against crash loops', () => {
  const crash = (): void => {
    // The process is gone, and its timers with it.
    vi.clearAllTimers();
  };
  const trialFile = () => readdirSync(directory).includes(TRIAL_FILE);

  it('starts with the last good configuration after two crashes, and goes on with the feed', async () => {
    file = fileWith(model('file'));
    put(model('a'));
    const first = start();
    await passTrial(first);
    expect(trialFile()).toBe(false);
    put(model('bad'));
    first.live.storeChanged();
    expect(trialFile()).toBe(true);
    crash();
    const second = start();
    expect(names(second.live.current)).toEqual(['a', 'bad', 'file']);
    crash();
    const third = start();
    expect(names(third.live.current)).toEqual(['a', 'file']);
    expect(third.live.report()).toMatchObject({
      rev: 1,
      rejected: { rev: 2, reason: expect.stringMatching(/^crash loop/) },
    });
    crash();
    // It stays rejected over further starts, and when the same comes again.
    const fourth = start();
    expect(names(fourth.live.current)).toEqual(['a', 'file']);
    store.configRev = 3;
    fourth.live.storeChanged();
    expect(fourth.live.report()).toMatchObject({ rev: 1, rejected: { rev: 3 } });
    // Without the bad model it is what was good.
    store.models.delete('bad');
    put(model('c'));
    fourth.live.storeChanged();
    expect(names(fourth.live.current)).toEqual(['a', 'c', 'file']);
    expect(fourth.live.report()).toMatchObject({ rev: 4, rejected: null });
  });

  it('has nothing of the database left when nothing was ever good', () => {
    file = fileWith(model('file'));
    put(model('bad'));
    for (let n = 0; n < CRASHES_WITHOUT_GOOD_MAX; n++) {
      // Until then it is tried: whoever kills processes from outside leaves no better one.
      expect(names(start().live.current)).toEqual(['bad', 'file']);
      crash();
    }
    expect(names(start().live.current)).toEqual(['file']);
  });

  it('counts no crash after the trial, and none of a process that ends properly', async () => {
    put(model('a'));
    for (let n = 0; n < 4; n++) {
      const { guard } = start();
      await guard.close();
      expect(trialFile()).toBe(false);
    }
    // Also while it finishes its streams, and the feed goes on.
    const ending = start();
    const closed = ending.guard.close();
    put(model('b'));
    ending.live.storeChanged();
    await closed;
    expect(trialFile()).toBe(false);
    store.models.delete('b');
    await passTrial(start());
    for (let n = 0; n < 4; n++) {
      crash();
      expect(names(start().live.current)).toEqual(['a']);
    }
  });

  it('lets a reload try again what was rejected', async () => {
    put(model('bad'));
    for (let n = 0; n < CRASHES_WITHOUT_GOOD_MAX; n++) {
      start();
      crash();
    }
    const third = start();
    const { live } = third;
    expect(names(live.current)).toEqual([]);
    live.reload();
    expect(names(live.current)).toEqual(['bad']);
    expect(live.report()).toMatchObject({ rev: 1, rejected: null });
    await passTrial(third);
    expect(trialFile()).toBe(false);
  });

  it('has something good to fall back on although models change more often than a trial takes', async () => {
    put(model('a'));
    const first = start();
    for (let n = 0; n < 4; n++) {
      vi.advanceTimersByTime(TRIAL_MS * 0.6);
      await first.guard.saved;
      put(model(`later-${n}`));
      first.live.storeChanged();
    }
    expect(first.guard.lastGood.models.map(({ id }) => id)).toEqual(['a', 'later-0']);
    for (let n = 0; n < CRASHES_MAX; n++) {
      crash();
      start();
    }
    expect(names(start().live.current)).toEqual(['a', 'later-0']);
  });

  it('forgets the crashes before a configuration that has proved good', async () => {
    put(model('a'));
    await passTrial(start());
    for (let n = 0; n < 2 * CRASHES_MAX; n++) {
      crash();
      put(model(`later-${n}`));
      const next = start();
      expect(names(next.live.current)).toContain(`later-${n}`);
      put(model(`more-${n}`));
      next.live.storeChanged();
      await passTrial(next);
    }
  });

  it('has no trial without models in the database: a killed process proves nothing', () => {
    file = fileWith(model('file'));
    store.configRev = 9;
    start();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('keeps the good one sealed, for its account only, and ignores a damaged copy', async () => {
    put(model('a', sealed('a', 'api_key', 'a-secret-of-a-provider')));
    await passTrial(start());
    const path = join(directory, GOOD_FILE);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, 'utf8');
    expect(text).not.toContain('a-secret');
    expect(new ConfigurationGuard({ directory, log }).lastGood).toMatchObject({ rev: 1, models: [{ id: 'a' }] });
    for (const damaged of [
      text.replace('"rev', '"rex'),
      text.replace('\\"rev\\":1', '\\"rev\\":2'),
      text.slice(0, -20),
      '',
    ]) {
      expect(damaged).not.toBe(text);
      writeFileSync(path, damaged);
      expect(new ConfigurationGuard({ directory, log }).lastGood).toMatchObject({ rev: 0, models: [] });
    }
  });

  it('does not stop a process that can not write', () => {
    put(model('a'));
    const { live } = start();
    rmSync(directory, { recursive: true });
    put(model('b'));
    live.storeChanged();
    expect(names(live.current)).toEqual(['a', 'b']);
    expect(logged(/could not write its file/)).toHaveLength(1);
  });
});
