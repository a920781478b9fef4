import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CertificateAuthority, createCertificateAuthority } from '../../../tests/support/tls.ts';
import { compileConfiguration } from '../../domain/compile-configuration.ts';
import { EMPTY_CONFIG_SOURCE } from '../../domain/config-source.ts';
import type { Configuration } from '../../domain/configuration.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import type { OutboundSettings } from '../../settings/settings.ts';
import { checkDataDirectory, FREE_BYTES_COMFORTABLE, FREE_BYTES_MIN } from './check-data-directory.ts';
import { checkClock, checkSchema } from './check-database.ts';
import { checkPrices } from './check-prices.ts';
import { checkProviders, proxyFor } from './check-providers.ts';

describe('checkPrices', () => {
  const check = (...models: JsonObject[]) =>
    checkPrices(
      compileConfiguration(
        {
          ...EMPTY_CONFIG_SOURCE,
          models: models.map((litellmParams, n) => ({ modelName: `m${n}`, litellmParams, modelInfo: {} })),
        },
        { prices: { find: () => null }, envValue: () => undefined, sha256Hex: (text) => text },
      ).configuration,
    );
  const free = { input_cost_per_token: 0, output_cost_per_token: 0 };

  it('names the models without a price, each once, and says what to do', () => {
    const unknown = { model: 'openai/unknown', api_key: 'k' };
    expect(check(unknown, { ...unknown, weight: 2 }, { model: 'openai/free', api_key: 'k', ...free })).toMatchObject([
      {
        name: 'prices',
        status: 'warn',
        message: expect.stringMatching(/1 models.*: openai\/unknown$/),
        todo: expect.stringContaining('base_model'),
      },
    ]);
  });

  it('is content with prices of zero, and says nothing of built-in models and wildcards', () => {
    expect(check({ model: 'openai/free', api_key: 'k', ...free })).toMatchObject([{ status: 'ok' }]);
    expect(check({ model: 'fake/gpt' }, { model: 'openai/*', api_key: 'k' })).toEqual([]);
  });
});

const DIRECT: OutboundSettings = { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true };

describe('checkDataDirectory', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'doctor-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('accepts a directory that exists and one that can be made', () => {
    mkdirSync(join(directory, 'there'));
    const plenty = () => FREE_BYTES_COMFORTABLE;
    expect(checkDataDirectory(join(directory, 'there'), plenty).map(({ status }) => status)).toEqual(['ok', 'ok']);
    expect(checkDataDirectory(join(directory, 'not/yet'), plenty)[0]?.message).toContain('can be made');
  });

  it('refuses a file in its place', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(checkDataDirectory(join(directory, 'file'))).toMatchObject([
      { status: 'fail', todo: expect.stringContaining('CLAVIGER_DATA_DIR') },
    ]);
  });

  it.each([
    [FREE_BYTES_COMFORTABLE, 'ok'],
    [FREE_BYTES_COMFORTABLE - 1, 'warn'],
    [FREE_BYTES_MIN - 1, 'fail'],
  ])('with %d bytes free is %s', (bytes, status) => {
    expect(checkDataDirectory(directory, () => bytes)[1]?.status).toBe(status);
  });
});

it.each([
  [5, 5, false, 'ok'],
  [4, 5, false, 'ok'],
  [0, 5, false, 'ok'],
  [4, 5, true, 'fail'],
  [6, 5, false, 'fail'],
])('schema version %d where %d is needed (update disabled: %s) is %s', (version, needed, disabled, status) => {
  expect(checkSchema(version, needed, disabled).status).toBe(status);
});

it.each([
  [0, 'ok'],
  [1_999, 'ok'],
  [-2_000, 'warn'],
  [59_999, 'warn'],
  [60_000, 'fail'],
])('a clock %d ms ahead is %s', (aheadMs, status) => {
  expect(checkClock(aheadMs).status).toBe(status);
});

describe('proxyFor', () => {
  const outbound = { ...DIRECT, httpsProxy: 'http://p:1', httpProxy: 'http://q:1' };
  it.each([
    ['https://api.example.com', [], 'http://p:1'],
    ['http://api.example.com', [], 'http://q:1'],
    ['https://api.example.com', ['*'], null],
    ['https://api.example.com', ['example.com'], null],
    ['https://api.example.com', ['.example.com'], null],
    ['https://api.example.com', ['*.example.com'], null],
    ['https://notexample.com', ['example.com'], 'http://p:1'],
    ['https://api.example.com:8443', ['api.example.com:443'], 'http://p:1'],
    ['https://api.example.com', ['api.example.com:443'], null],
    ['https://[::1]:443', ['::1'], null],
    ['http://127.0.0.1:8000', ['127.0.0.1'], null],
  ])('for %s without %j is %s', (url, noProxy, proxy) => {
    expect(proxyFor(new URL(url), { ...outbound, noProxy })).toBe(proxy);
  });
});

describe('checkProviders', () => {
  let authority: CertificateAuthority;
  beforeAll(async () => {
    authority = await createCertificateAuthority();
  });
  afterAll(() => authority.remove());

  const configured = (apiBase: string, params = {}): Configuration =>
    compileConfiguration(
      {
        ...EMPTY_CONFIG_SOURCE,
        models: [
          {
            modelName: 'a',
            litellmParams: { model: 'openai/a', api_base: apiBase, api_key: 'k', ...params },
            modelInfo: {},
          },
        ],
      },
      { prices: { find: () => null }, envValue: () => undefined, sha256Hex: (text) => text },
    ).configuration;

  it('finds out whether a certificate would be accepted', async () => {
    const { cert, key } = await authority.serverCertificate();
    const server = createTlsServer({ cert, key });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `https://localhost:${(server.address() as { port: number }).port}/v1`;
    const status = async (outbound: OutboundSettings, params = {}) =>
      (await checkProviders(configured(base, params), outbound))[0];

    expect(await status(DIRECT)).toMatchObject({
      status: 'fail',
      message: expect.stringContaining('certificate is not accepted'),
    });
    expect(await status({ ...DIRECT, caFile: authority.caPath })).toMatchObject({ status: 'ok' });
    expect(await status(DIRECT, { ssl_verify: false })).toMatchObject({ status: 'warn' });
    server.close();
  });

  it('gives up on a provider that does not answer, and connects to the proxy where there is one', async () => {
    const sockets = new Set<{ destroy(): void }>();
    const server = createTcpServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`;

    const [silent] = await checkProviders(configured(`https://${address}/v1`), DIRECT, 100);
    expect(silent).toMatchObject({ status: 'fail', message: 'it does not answer' });
    const [proxied] = await checkProviders(configured('https://unreachable.invalid/v1'), {
      ...DIRECT,
      httpsProxy: `http://${address}`,
    });
    expect(proxied).toMatchObject({ status: 'ok', message: expect.stringContaining('through the proxy') });
    for (const socket of sockets) socket.destroy();
    server.close();
  });
});
