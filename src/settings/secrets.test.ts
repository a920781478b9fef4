import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EMPTY_CONFIG_SOURCE } from '../domain/config-source.ts';
import { resolveSecrets, secretsOfSource } from './secrets.ts';

let parent: string;
let dataDir: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'secrets-'));
  dataDir = join(parent, 'new', 'data');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const embedded = (over = {}) =>
  resolveSecrets({ masterKey: null, saltKey: null, dataDir, embeddedDatabase: true, keep: true, ...over });
const shared = (over = {}) =>
  resolveSecrets({ masterKey: null, saltKey: null, dataDir, embeddedDatabase: false, keep: true, ...over });

describe('with the embedded database', () => {
  it('makes keys once, keeps them for this account only, and finds them again', () => {
    const first = embedded();
    expect(first.masterKey).toMatch(/^sk-[A-Za-z0-9_-]{32}$/);
    expect(first.sealingKey).toMatch(/^sk-[A-Za-z0-9_-]{32}$/);
    expect(first.sealingKey).not.toBe(first.masterKey);
    expect(first).toMatchObject({ sealingKeySource: 'salt', warnings: [] });
    for (const [name, key] of [
      ['master-key', first.masterKey],
      ['salt-key', first.sealingKey],
    ] as const) {
      expect(readFileSync(join(dataDir, name), 'utf8').trim()).toBe(key);
      expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
    }
    expect(embedded()).toEqual(first);
  });

  it('prefers what is configured and writes nothing then', () => {
    expect(embedded({ masterKey: 'sk-m', saltKey: 'sk-s' })).toEqual({
      masterKey: 'sk-m',
      sealingKey: 'sk-s',
      sealingKeySource: 'salt',
      warnings: [],
    });
    expect(existsSync(dataDir)).toBe(false);
  });

  it('makes a salt key also beside a configured master key', () => {
    const { masterKey, sealingKey } = embedded({ masterKey: 'sk-m' });
    expect(masterKey).toBe('sk-m');
    expect(existsSync(join(dataDir, 'master-key'))).toBe(false);
    expect(sealingKey).toBe(embedded().sealingKey);
  });

  it('warns when a configured salt key is not the one that was used before', () => {
    embedded();
    expect(embedded({ saltKey: 'sk-other' }).warnings[0]).toContain('can not be opened');
  });

  it('writes nothing when it is only asked', () => {
    expect(embedded({ keep: false }).masterKey).toMatch(/^sk-/);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('refuses a key file that others can read', () => {
    const { masterKey } = embedded();
    chmodSync(join(dataDir, 'master-key'), 0o640);
    expect(() => embedded()).toThrow(/master-key can be read or written by other accounts \(mode 640\).*chmod 600/);
    expect(() => embedded()).not.toThrow(masterKey);
  });

  it('refuses an empty key file instead of making another key', () => {
    embedded();
    writeFileSync(join(dataDir, 'salt-key'), '\n');
    expect(() => embedded()).toThrow(/salt-key is empty/);
  });

  it('says what to do when the data directory can not be made', () => {
    writeFileSync(join(parent, 'new'), 'a file');
    expect(() => embedded()).toThrow(/CLAVIGER_DATA_DIR|can not be read/);
  });
});

describe('with a shared database', () => {
  it('makes no key and says what to set', () => {
    expect(() => shared()).toThrow(/LITELLM_MASTER_KEY is not set.*same value on every instance/);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('seals with the salt key', () => {
    expect(shared({ masterKey: 'sk-m', saltKey: 'sk-s' })).toMatchObject({
      sealingKey: 'sk-s',
      sealingKeySource: 'salt',
      warnings: [],
    });
  });

  it('seals with the master key without one, and warns', () => {
    const secrets = shared({ masterKey: 'sk-m' });
    expect(secrets).toMatchObject({ sealingKey: 'sk-m', sealingKeySource: 'master' });
    expect(secrets.warnings[0]).toContain('LITELLM_SALT_KEY is not set');
  });
});

it('warns about a master key that clients may refuse', () => {
  expect(shared({ masterKey: 'hello', saltKey: 'x' }).warnings[0]).toContain('does not begin with sk-');
});

describe('secretsOfSource', () => {
  it('finds what has a secret name at any depth, and passwords in URLs', () => {
    const found = secretsOfSource({
      ...EMPTY_CONFIG_SOURCE,
      models: [
        {
          modelName: 'a',
          litellmParams: {
            model: 'openai/a',
            api_key: 'k1',
            aws_secret_access_key: 'k2',
            extra_headers: { Authorization: 'k3' },
            max_tokens: 5,
            api_base: 'https://user:p%40ss@host/v1',
          },
          modelInfo: {},
        },
      ],
      generalSettings: { master_key: 'k4', database_url: 'postgresql://u:k5@h/d' },
      environmentVariables: { OPENAI_API_KEY: 'k6', SLACK_TOKEN: 'k7', NAME: 'plain' },
    });
    expect(found.sort()).toEqual(['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'p%40ss', 'p@ss']);
  });
});
