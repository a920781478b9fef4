import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveSettings } from './resolve-settings.ts';
import { secretsOfSettings } from './secrets.ts';
import { SettingsError } from './settings-error.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'settings-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const resolve = (env: Record<string, string>) => resolveSettings({ flags: {}, env, cwd });

describe('a worker with CONTROL_PLANE_URL', () => {
  it('is a worker, whatever its switches say, and neither needs nor makes a key of the installation', () => {
    const { settings, warnings } = resolve({ CONTROL_PLANE_URL: 'https://a.example/, https://b.example/llm' });
    expect(warnings).toEqual([]);
    expect(settings).toMatchObject({
      role: 'worker',
      flags: { disableAdminEndpoints: true, disableAdminUi: true, disableLlmApiEndpoints: false },
      controlPlaneUrls: ['https://a.example', 'https://b.example/llm'],
      databaseUrl: null,
      masterKey: '',
      sealingKey: '',
      fakeModels: false,
    });
    expect(existsSync(settings.dataDir)).toBe(false);
  });

  it('keeps its token out of the log, and nothing that is empty', () => {
    const { settings } = resolve({ CONTROL_PLANE_URL: 'https://a.example', CLAVIGER_JOIN_TOKEN: 'cjt-secret' });
    expect(secretsOfSettings(settings)).toEqual(['cjt-secret']);
  });

  it('is told that keys of the installation mean nothing to it, and that http is read by everybody', () => {
    const env = { CONTROL_PLANE_URL: 'http://admin.example', LITELLM_MASTER_KEY: 'sk-x', LITELLM_SALT_KEY: 'y' };
    const { settings, warnings } = resolve(env);
    expect(warnings.map((warning) => warning.split(' ')[0])).toEqual([
      'CONTROL_PLANE_URL',
      'LITELLM_MASTER_KEY',
      'LITELLM_SALT_KEY',
    ]);
    expect([settings.masterKey, settings.sealingKey]).toEqual(['', '']);
    for (const local of ['http://localhost:4000', 'http://127.0.0.1:4000', 'http://[::1]:4000']) {
      expect(resolve({ CONTROL_PLANE_URL: local }).warnings, local).toEqual([]);
    }
  });

  it('has no database, and its addresses are ones', () => {
    const both = { CONTROL_PLANE_URL: 'https://a.example', DATABASE_URL: 'postgresql://a/b' };
    expect(() => resolve(both)).toThrow(/DATABASE_URL and CONTROL_PLANE_URL are both set/);
    for (const url of ['admin.example', 'ftp://admin.example', 'https://a.example,nonsense']) {
      expect(() => resolve({ CONTROL_PLANE_URL: url }), url).toThrow(SettingsError);
    }
  });
});
