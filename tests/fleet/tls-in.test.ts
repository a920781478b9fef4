import { copyFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectRaw, requestText, sendRaw } from '../support/http-raw.ts';
import { type Claviger, runClaviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { type Certificate, type CertificateAuthority, createCertificateAuthority } from '../support/tls.ts';
import { until } from '../support/until.ts';

/** Certificate files are looked at every 2 s; a changed pair has to be in use after a few looks. */
const RELOADED_WITHIN_MS = 15_000;

let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let first: Certificate;
let second: Certificate;
let dir: string;
let certPath: string;
let keyPath: string;

beforeAll(async () => {
  authority = await createCertificateAuthority();
  stranger = await createCertificateAuthority('Somebody else');
  first = await authority.serverCertificate();
  second = await authority.serverCertificate();
  dir = await temporaryDirectory();
  certPath = join(dir, 'tls.crt');
  keyPath = join(dir, 'tls.key');
});
afterAll(async () => {
  await Promise.all([authority?.remove(), stranger?.remove()]);
  await rm(dir, { recursive: true, force: true });
});

describe('the public port with a certificate', () => {
  let claviger: Claviger;
  beforeAll(async () => {
    await install(first);
    claviger = await startClaviger({ env: { SSL_CERTFILE_PATH: certPath, SSL_KEYFILE_PATH: keyPath } });
  });
  afterAll(() => claviger?.stop());

  const get = (path: string) => requestText('GET', path, { Authorization: `Bearer ${claviger.masterKey}` });

  it('speaks TLS to who knows its authority: LLM routes, streams and management', async () => {
    const to = { port: claviger.port, ca: authority.ca };
    expect((await sendRaw(to, get('/v1/models'))).status).toBe(200);
    expect((await sendRaw(to, get('/key/list'))).status).toBe(200);
    const body = JSON.stringify({ model: 'fake-gpt', stream: true, messages: [{ role: 'user', content: 'hello' }] });
    const headers = { Authorization: `Bearer ${claviger.masterKey}` };
    const stream = await sendRaw(to, requestText('POST', '/v1/chat/completions', headers, body));
    expect(stream.status).toBe(200);
    expect(stream.text()).toMatch(/data: \[DONE\]\s*$/);
    // An offer of another protocol, which is ignored.
    const offer = { ...headers, Connection: 'Upgrade', Upgrade: 'h2c' };
    expect((await sendRaw(to, requestText('GET', '/v1/models', offer))).status).toBe(200);
  });

  it('is refused by who does not know its authority, and gives nothing to who speaks no TLS', async () => {
    await expect(connectRaw({ port: claviger.port, ca: stranger.ca })).rejects.toThrow(/certificate/);
    await using plain = await connectRaw({ port: claviger.port });
    await plain.write(get('/v1/models'));
    await plain.closed();
    expect(plain.rest().toString('latin1')).not.toContain('200 OK');
  });

  it('takes a changed pair for new connections without a restart, and old connections live on', async () => {
    const { gateways } = claviger.pids();
    await using old = await connectRaw({ port: claviger.port, ca: authority.ca });
    await old.write(get('/v1/models'));
    expect((await old.answer()).status).toBe(200);
    const before = await served();

    await install(second);
    const after = await until(
      'another certificate is served',
      async () => {
        const now = await served();
        return now.serialNumber === before.serialNumber ? null : now;
      },
      RELOADED_WITHIN_MS,
    );
    expect(after.raw.equals(pemBytes(second.cert))).toBe(true);
    await old.write(get('/v1/models'));
    expect((await old.answer()).status).toBe(200);
    expect((old.socket as TLSSocket).getPeerCertificate().serialNumber).toBe(before.serialNumber);
    expect(claviger.pids().gateways).toEqual(gateways);
  });

  it('keeps the pair that it has when the files do not belong together, says so, and takes the next good one', async () => {
    const before = await served();
    await copyFile(first.keyPath, keyPath);
    await claviger.waitForLog(/TLS certificate changed but can not be used/, RELOADED_WITHIN_MS);
    expect((await served()).serialNumber).toBe(before.serialNumber);
    await install(first);
    await until(
      'the good pair is served',
      async () => ((await served()).raw.equals(pemBytes(first.cert)) ? true : null),
      RELOADED_WITHIN_MS,
    );
  });

  function served(): Promise<PeerCertificate> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: claviger.port, ca: authority.ca, servername: 'localhost' });
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        resolve(socket.getPeerCertificate());
        socket.destroy();
      });
    });
  }
});

describe('a pair that can not be used', () => {
  it.each([
    ['is not a pair', () => [first.certPath, second.keyPath], /The key .* does not belong to the certificate/],
    ['has no key', () => [first.certPath, undefined], /SSL_CERTFILE_PATH is set but SSL_KEYFILE_PATH is not/],
    ['has no certificate', () => [undefined, first.keyPath], /SSL_KEYFILE_PATH is set but SSL_CERTFILE_PATH is not/],
    [
      'is missing',
      () => ['/nowhere/tls.crt', first.keyPath],
      /\/nowhere\/tls.crt \(SSL_CERTFILE_PATH\) can not be read/,
    ],
    ['is swapped', () => [first.keyPath, first.certPath], /\(SSL_CERTFILE_PATH\) holds no certificate in PEM form/],
  ] as const)('stops the start with a sentence when it %s', async (_what, files, sentence) => {
    const [cert, key] = files();
    const { code, stdout, stderr } = await runClaviger(['serve', '--port', '0'], {
      env: { CLAVIGER_DATA_DIR: join(dir, 'data'), SSL_CERTFILE_PATH: cert, SSL_KEYFILE_PATH: key },
      cwd: dir,
    });
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(sentence);
    expect(stdout + stderr).not.toMatch(/^\s+at /m);
    expect(stdout + stderr).not.toContain('PRIVATE KEY');
  });
});

/** As certificate managers do: each file is replaced by a rename. */
async function install(pair: Certificate): Promise<void> {
  for (const [from, to] of [
    [pair.keyPath, keyPath],
    [pair.certPath, certPath],
  ] as const) {
    await copyFile(from, `${to}.new`);
    await rename(`${to}.new`, to);
  }
}

function pemBytes(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
}
