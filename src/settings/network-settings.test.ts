import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CertificateAuthority, createCertificateAuthority } from '../../tests/support/tls.ts';
import { corsSettings, outboundSettings, rootPath, trustedProxies } from './network-settings.ts';

describe('rootPath', () => {
  it.each([
    [null, ''],
    ['', ''],
    ['/', ''],
    ['llm', '/llm'],
    ['/llm/', '/llm'],
    ['//a//b/', '/a/b'],
  ])('normalises %j', (written, path) => {
    expect(rootPath(written)).toBe(path);
  });
  it.each(['/a b', '/a/../b', '/a?b', '/a%2fb', '/.', 'http://x/y'])('refuses %j', (written) => {
    expect(() => rootPath(written)).toThrow('SERVER_ROOT_PATH');
  });
});

describe('corsSettings', () => {
  it('allows every origin by default, without credentials', () => {
    expect(corsSettings(null, false)).toEqual({ origins: ['*'], credentials: false, warning: null });
    expect(corsSettings('https://a.example, *', true)).toMatchObject({ origins: ['*'], credentials: false });
    expect(corsSettings(null, true).warning).toContain('has no effect');
  });
  it('takes a list of origins', () => {
    expect(corsSettings('https://a.example/, http://localhost:3000', true)).toEqual({
      origins: ['https://a.example', 'http://localhost:3000'],
      credentials: true,
      warning: null,
    });
  });
  it.each(['a.example', 'https://a.example/path', '*.example.com'])('refuses %j', (origin) => {
    expect(() => corsSettings(origin, false)).toThrow(origin);
  });
});

describe('trustedProxies', () => {
  it('takes addresses and ranges of both families', () => {
    expect(trustedProxies('10.0.0.0/8, 192.168.1.1,::1, fd00::/8')).toEqual([
      '10.0.0.0/8',
      '192.168.1.1/32',
      '::1/128',
      'fd00::/8',
    ]);
    expect(trustedProxies(null)).toEqual([]);
  });
  it.each(['proxy', '10.0.0.0/33', '10.0.0.0/', '10.0.0/8', '::/129', '1.2.3.4/8/8'])('refuses %j', (entry) => {
    expect(() => trustedProxies(entry)).toThrow(`neither an address nor a range: ${entry}`);
  });
});

describe('outboundSettings', () => {
  let authority: CertificateAuthority;
  let directory: string;
  beforeAll(async () => {
    authority = await createCertificateAuthority();
    directory = mkdtempSync(join(tmpdir(), 'outbound-'));
  });
  afterAll(async () => {
    await authority.remove();
    rmSync(directory, { recursive: true, force: true });
  });
  const read = (env: Record<string, string>, section = {}) => outboundSettings(env, section, directory);

  it('goes direct and checks certificates by default', () => {
    expect(read({})).toEqual({
      outbound: { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true },
      warnings: [],
    });
  });

  it('reads proxies in either case, ALL_PROXY for what is missing, and NO_PROXY', () => {
    const { outbound } = read({
      https_proxy: 'http://p:1',
      HTTPS_PROXY: 'http://q:1',
      ALL_PROXY: 'r:2',
      NO_PROXY: 'A.example, .b',
    });
    expect(outbound).toMatchObject({ httpsProxy: 'http://p:1', httpProxy: 'http://r:2', noProxy: ['a.example', '.b'] });
  });

  it('refuses a proxy that is none', () => {
    expect(() => read({ HTTPS_PROXY: 'socks5://user:secret@p:1' })).toThrow(/HTTPS_PROXY must be/);
    expect(() => read({ HTTPS_PROXY: 'socks5://user:secret@p:1' })).not.toThrow(/secret/);
  });

  it('takes authorities from SSL_CERT_FILE or from a path in ssl_verify, which comes first', () => {
    expect(read({ SSL_CERT_FILE: authority.caPath }).outbound.caFile).toBe(authority.caPath);
    expect(read({ SSL_CERT_FILE: '/nowhere' }, { ssl_verify: authority.caPath }).outbound).toMatchObject({
      caFile: authority.caPath,
      sslVerify: true,
    });
    expect(read({ SSL_VERIFY: authority.caPath }, { ssl_verify: false }).outbound).toMatchObject({
      caFile: authority.caPath,
    });
  });

  it('stops when the file is missing or holds no certificate', () => {
    expect(() => read({ SSL_CERT_FILE: 'gone.pem' })).toThrow(
      `${join(directory, 'gone.pem')} (SSL_CERT_FILE) can not be read (ENOENT)`,
    );
    writeFileSync(join(directory, 'text.pem'), 'hello');
    expect(() => read({ SSL_CERT_FILE: 'text.pem' })).toThrow('holds no certificate');
  });

  it.each([
    [{ SSL_VERIFY: 'False' }, {}],
    [{}, { ssl_verify: false }],
  ])('can be told not to check certificates, with a warning (%j, %j)', (env: Record<string, string>, section) => {
    const { outbound, warnings } = read(env, section);
    expect(outbound.sslVerify).toBe(false);
    expect(warnings[0]).toContain('not checked');
  });

  it('lets SSL_VERIFY win over the file', () => {
    expect(read({ SSL_VERIFY: 'true' }, { ssl_verify: false }).outbound.sslVerify).toBe(true);
  });
});
