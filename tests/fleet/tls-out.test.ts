import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Claviger, runClaviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';
import { type Certificate, type CertificateAuthority, createCertificateAuthority } from '../support/tls.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';
import { type ConnectProxy, startConnectProxy } from './connect-proxy.ts';

/** Providers over TLS whose certificates come from an authority that only the operator knows. */

const CLIENT_NAME = 'claviger-worker-eu';
const UNTRUSTED =
  'litellm.APIConnectionError: OpenAIException - No trusted TLS connection to the provider could be made.';

let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let client: Certificate;
let foreignClient: Certificate;
let provider: UpstreamServer;
/** Wants a certificate from its clients. */
let strictProvider: UpstreamServer;
/** Has a certificate for another name than its address. */
let misnamedProvider: UpstreamServer;
let database: TestDatabase;
let dir: string;

beforeAll(async () => {
  authority = await createCertificateAuthority();
  stranger = await createCertificateAuthority('Somebody else');
  client = await authority.clientCertificate(CLIENT_NAME);
  foreignClient = await stranger.clientCertificate('somebody');
  const tls = await authority.serverCertificate();
  const misnamed = await authority.serverCertificate({ names: ['DNS:api.other.example'] });
  [provider, strictProvider, misnamedProvider, database, dir] = await Promise.all([
    startUpstream({ tls }),
    startUpstream({ tls, clientCa: authority.ca }),
    startUpstream({ tls: misnamed }),
    createTestDatabase(),
    temporaryDirectory(),
  ]);
});
beforeEach(() => Promise.all([provider.forget(), strictProvider.forget(), misnamedProvider.forget()]));
afterAll(async () => {
  await Promise.all([provider?.stop(), strictProvider?.stop(), misnamedProvider?.stop()]);
  await Promise.all([database?.drop(), authority?.remove(), stranger?.remove()]);
  await rm(dir, { recursive: true, force: true });
});

describe('without trust in the authority', () => {
  let claviger: Claviger;
  beforeAll(async () => {
    claviger = await start('untrusting', {});
  });
  afterAll(() => claviger?.stop());

  it('a provider is not spoken to: the client gets a sentence without details, the log has the reason', async () => {
    for (const stream of [false, true]) {
      const { status, text } = await chat(claviger, 'plain', { stream });
      expect([status, JSON.parse(text).error]).toEqual([
        500,
        { message: UNTRUSTED, type: 'internal_server_error', param: null, code: '500' },
      ]);
    }
    expect(await provider.requests()).toEqual([]);
    await claviger.waitForLog(/No trusted TLS connection.* reason="?[^"]*(unable to verify|self.signed|local issuer)/i);
    expect(claviger.logs()).not.toMatch(/^\s+at /m);
  });

  it('ssl_verify: false of a deployment speaks to its provider anyway, and to no other', async () => {
    expect((await chat(claviger, 'unverified')).status).toBe(200);
    expect(await provider.requests()).toHaveLength(1);
    expect((await chat(claviger, 'plain')).status).toBe(500);
    expect(await provider.requests()).toHaveLength(1);
  });
});

describe('with SSL_CERT_FILE', () => {
  let claviger: Claviger;
  beforeAll(async () => {
    claviger = await start('trusting', { env: { SSL_CERT_FILE: authority.caPath } });
  });
  afterAll(() => claviger?.stop());

  it('a provider is spoken to, by address and by name, in JSON and in streams', async () => {
    expect((await chat(claviger, 'plain')).status).toBe(200);
    expect((await chat(claviger, 'by-name')).status).toBe(200);
    const stream = await chat(claviger, 'plain', { stream: true });
    expect(stream.status).toBe(200);
    expect(stream.text).toMatch(/data: \[DONE\]\s*$/);
    expect(await provider.requests()).toHaveLength(3);
  });

  it('a certificate for another name is refused all the same', async () => {
    const { status, text } = await chat(claviger, 'misnamed');
    expect(status).toBe(500);
    expect(JSON.parse(text).error.message).toBe(UNTRUSTED);
    await claviger.waitForLog(/reason="?[^"]*(altnames|does not match)/);
    expect(await misnamedProvider.requests()).toEqual([]);
  });

  it('a provider that demands a client certificate gets that of the deployment', async () => {
    expect((await chat(claviger, 'with-certificate')).status).toBe(200);
    const [seen] = await strictProvider.requests();
    expect(seen?.clientCertificate).toBe(CLIENT_NAME);
  });

  it('without a client certificate, with a foreign one, or with a missing file, that provider is not reached', async () => {
    for (const model of ['without-certificate', 'with-foreign-certificate', 'with-missing-certificate']) {
      const { status, text } = await chat(claviger, model);
      expect([model, status]).toEqual([model, 500]);
      expect(JSON.parse(text).error.message).toMatch(/^litellm\.APIConnectionError: OpenAIException - ./);
      expect(text).not.toMatch(/\\n\s+at |PRIVATE KEY|node:internal/);
    }
    expect(await strictProvider.requests()).toEqual([]);
    // A deployment with a broken certificate harms no other one.
    expect((await chat(claviger, 'with-certificate')).status).toBe(200);
  });
});

describe('with the authority in ssl_verify, and a proxy', () => {
  let proxy: ConnectProxy;
  let claviger: Claviger;
  beforeAll(async () => {
    proxy = await startConnectProxy();
    claviger = await start('proxied', {
      litellmSettings: { ssl_verify: authority.caPath },
      env: {
        HTTPS_PROXY: `http://user:proxy-password@127.0.0.1:${proxy.port}`,
        NO_PROXY: 'example.com, localhost',
      },
    });
  });
  afterAll(async () => {
    await claviger?.stop();
    await proxy?.[Symbol.asyncDispose]();
  });

  it('a provider is reached through CONNECT, with the credential of the proxy, and TLS reaches to the provider', async () => {
    const before = proxy.connects.length;
    const answer = await chat(claviger, 'plain');
    expect([answer.status, answer.text.slice(0, 300)]).toEqual([200, expect.any(String)]);
    const used = proxy.connects.slice(before);
    expect(used).toEqual([
      {
        target: `127.0.0.1:${provider.port}`,
        authorization: `Basic ${Buffer.from('user:proxy-password').toString('base64')}`,
      },
    ]);
    expect(proxy.others).toEqual([]);
    const [seen] = await provider.requests();
    expect(seen?.headers.map(([name]) => name.toLowerCase())).not.toContain('proxy-authorization');
  });

  it('streams and client certificates work through it', async () => {
    const stream = await chat(claviger, 'plain', { stream: true });
    expect(stream.text).toMatch(/data: \[DONE\]\s*$/);
    expect((await chat(claviger, 'with-certificate')).status).toBe(200);
    const [seen] = await strictProvider.requests();
    expect(seen?.clientCertificate).toBe(CLIENT_NAME);
    expect(proxy.connects.map(({ target }) => target)).toContain(`127.0.0.1:${strictProvider.port}`);
  });

  it('certificates are checked behind it as well', async () => {
    const { status, text } = await chat(claviger, 'misnamed');
    expect(status).toBe(500);
    expect(JSON.parse(text).error.message).toBe(UNTRUSTED);
    expect(await misnamedProvider.requests()).toEqual([]);
  });

  it('hosts in NO_PROXY are reached directly', async () => {
    const before = proxy.connects.length;
    expect((await chat(claviger, 'by-name')).status).toBe(200);
    expect(await provider.requests()).toHaveLength(1);
    expect(proxy.connects).toHaveLength(before);
  });

  it('its password is in no log', () => {
    expect(claviger.logs()).not.toContain('proxy-password');
  });

  it('that is away is an error of the connection, not of the client', async () => {
    await using away = await start('proxy-away', {
      litellmSettings: { ssl_verify: authority.caPath },
      env: { HTTPS_PROXY: 'http://127.0.0.1:9' },
    });
    const { status, text } = await chat(away, 'plain');
    expect(status).toBe(500);
    expect(JSON.parse(text).error.message).toMatch(
      /^litellm\.APIConnectionError: OpenAIException - The provider can not/,
    );
    await away.waitForLog(/reason="?[^"]*ECONNREFUSED/);
  });
});

it('an authority that can not be read stops the start with a sentence', async () => {
  const { code, stdout, stderr } = await runClaviger(['serve', '--port', '0'], {
    env: { CLAVIGER_DATA_DIR: join(dir, 'none'), SSL_CERT_FILE: join(dir, 'missing.pem') },
    cwd: dir,
  });
  expect(code).toBe(1);
  expect(stdout + stderr).toMatch(/missing\.pem \(SSL_CERT_FILE\) can not be read/);
  expect(stdout + stderr).not.toMatch(/^\s+at /m);
});

interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly litellmSettings?: object;
}

async function start(name: string, { env = {}, litellmSettings = {} }: StartOptions): Promise<Claviger> {
  const file = join(dir, `${name}.yaml`);
  const certificate = { ssl_certificate: client.certPath, ssl_key: client.keyPath };
  const models = {
    plain: { api_base: `${provider.url}/v1` },
    'by-name': { api_base: `https://localhost:${provider.port}/v1` },
    unverified: { api_base: `${provider.url}/v1`, ssl_verify: false },
    misnamed: { api_base: `${misnamedProvider.url}/v1` },
    'with-certificate': { api_base: `${strictProvider.url}/v1`, ...certificate },
    'without-certificate': { api_base: `${strictProvider.url}/v1` },
    'with-foreign-certificate': {
      api_base: `${strictProvider.url}/v1`,
      ssl_certificate: foreignClient.certPath,
      ssl_key: foreignClient.keyPath,
    },
    'with-missing-certificate': { api_base: `${strictProvider.url}/v1`, ssl_certificate: '/nowhere/client.pem' },
  };
  const modelList = Object.entries(models).map(([model, params]) => ({
    model_name: model,
    litellm_params: { model: `openai/${model}`, api_key: 'sk-of-the-provider', ...params },
  }));
  await writeFile(file, stringify({ model_list: modelList, litellm_settings: litellmSettings }));
  return startClaviger({
    args: ['--config', file],
    env: {
      DATABASE_URL: database.url,
      DIRECT_URL: database.directUrl,
      LITELLM_MASTER_KEY: 'sk-master-of-the-tls-tests',
      ...env,
    },
  });
}

function chat(claviger: Claviger, model: string, more: object = {}) {
  return claviger.api('POST', '/v1/chat/completions', {
    model,
    messages: [{ role: 'user', content: 'hello' }],
    ...more,
  });
}
