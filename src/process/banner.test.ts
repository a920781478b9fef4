import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { resolveSettings } from '../settings/resolve-settings.ts';
import type { Settings } from '../settings/settings.ts';
import { bannerText, exampleModel } from './banner.ts';

const { settings } = resolveSettings({
  flags: {},
  env: {
    DATABASE_URL: 'postgresql://x/y',
    LITELLM_MASTER_KEY: 'sk-1',
    LITELLM_SALT_KEY: 'salt',
    LITELLM_MODE: 'PRODUCTION',
  },
  cwd: '/',
});

/** What a shell makes of the command in the banner. */
function pasted(banner: string, env: Record<string, string> = {}): string[] {
  const command = banner.slice(banner.indexOf('curl'));
  const script = `curl() { for word in "$@"; do printf '%s\\0' "$word"; done; }\n${command}`;
  return spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8', env }).stdout.split('\0').slice(0, -1);
}

const banner = (changes: Partial<Settings>, masterKey: string | null = 'sk-1', model: string | null = 'm') =>
  bannerText({ settings: { ...settings, ...changes }, port: 4000, masterKey, model });

describe('the banner', () => {
  it('has a command that a shell takes as it is meant, whatever is in the names', () => {
    const model = `it's "a" $HOME \`model\``;
    const words = pasted(banner({ serverRootPath: '/a b' }, `sk-'"$x`, model));
    expect(words[0]).toBe('http://localhost:4000/a b/v1/chat/completions');
    expect(words).toContain(`Authorization: Bearer sk-'"$x`);
    expect(JSON.parse(words.at(-1)!)).toEqual({ model, messages: [{ role: 'user', content: 'Hello!' }] });
  });

  it('names the variable instead of the key when the key is not to be shown, and the command still works', () => {
    const text = banner({}, null);
    expect(text).not.toContain('sk-1');
    expect(pasted(text, { LITELLM_MASTER_KEY: 'sk-2' })).toContain('Authorization: Bearer sk-2');
  });

  it('makes a key where there is no model to call', () => {
    expect(pasted(banner({}, 'sk-1', null))[0]).toBe('http://localhost:4000/key/generate');
  });

  it('of a worker that joined names its control plane, and a key that is made there', () => {
    const text = banner({ controlPlaneUrls: ['https://admin.example'] }, null, null);
    expect(text).toContain('control plane:  https://admin.example');
    expect(text).not.toMatch(/MASTER_KEY|key\/generate/);
    expect(pasted(text, { KEY: 'sk-3' })).toContain('Authorization: Bearer sk-3');
  });

  it('has an address that one can call', () => {
    const addressFor = (host: string) => /on (\S+)/.exec(banner({ host }))?.[1];
    expect(addressFor('0.0.0.0')).toBe('http://localhost:4000');
    expect(addressFor('::')).toBe('http://[::1]:4000');
    expect(addressFor('fe80::1')).toBe('http://[fe80::1]:4000');
    expect(addressFor('gw.example')).toBe('http://gw.example:4000');
    expect(banner({ tls: { certPath: '/c', keyPath: '/k' } })).toContain('curl -k https://');
  });

  it('calls the built-in model when there is one, and none on an instance without LLM routes', () => {
    expect(exampleModel({ ...settings, fakeModels: true }, {})).toBe('fake-gpt');
    expect(exampleModel(settings, {})).toBeNull();
    const flags = { ...settings.flags, disableLlmApiEndpoints: true };
    expect(exampleModel({ ...settings, fakeModels: true, flags }, {})).toBeNull();
  });
});
