import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CertificateFields, certificatePem } from './tls-der.ts';

/** A certificate and its key as PEM, in memory and as files (a gateway under test reads files). */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly certPath: string;
  readonly keyPath: string;
}

/** A private certificate authority of one test. Everything it made is removed with it. */
export interface CertificateAuthority extends AsyncDisposable {
  readonly ca: string;
  readonly caPath: string;
  /** A server certificate for the names, valid for the days from now; with negative days it has expired. */
  serverCertificate(options?: { names?: readonly string[]; days?: number }): Promise<Certificate>;
  clientCertificate(commonName: string): Promise<Certificate>;
  remove(): Promise<void>;
}

const DAYS = 30;
const DAY_MS = 86_400_000;
const LOCAL_NAMES = ['DNS:localhost', 'IP:127.0.0.1', 'IP:::1'];

export async function createCertificateAuthority(name = 'Claviger test CA'): Promise<CertificateAuthority> {
  const dir = await mkdtemp(join(tmpdir(), 'claviger-ca-'));
  const authority = keyPair();
  let serial = 0;

  const issue = (
    own: KeyPairKeyObjectResult,
    subject: string,
    use: CertificateFields['use'],
    names: readonly string[],
    days: number,
  ): string => {
    serial += 1;
    return certificatePem({
      serial,
      subject,
      issuer: name,
      publicKey: own.publicKey,
      issuerPublicKey: authority.publicKey,
      issuerPrivateKey: authority.privateKey,
      notBefore: new Date(Date.now() - DAYS * DAY_MS),
      notAfter: new Date(Date.now() + days * DAY_MS),
      use,
      names,
    });
  };
  const write = async (subject: string, use: 'server' | 'client', names: readonly string[], days: number) => {
    const own = keyPair();
    const cert = issue(own, subject, use, names, days);
    const key = own.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const certPath = join(dir, `${serial}.pem`);
    const keyPath = join(dir, `${serial}.key`);
    await writeFile(certPath, cert);
    await writeFile(keyPath, key, { mode: 0o600 });
    return { cert, key, certPath, keyPath };
  };
  const removeAtExit = (): void => rmSync(dir, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  const remove = (): Promise<void> => {
    process.off('exit', removeAtExit);
    return rm(dir, { recursive: true, force: true });
  };

  const ca = issue(authority, name, 'authority', [], DAYS);
  const caPath = join(dir, 'ca.pem');
  await writeFile(caPath, ca);
  return {
    ca,
    caPath,
    serverCertificate: ({ names = LOCAL_NAMES, days = DAYS } = {}) => write('localhost', 'server', names, days),
    clientCertificate: (commonName) => write(commonName, 'client', [], DAYS),
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

function keyPair(): KeyPairKeyObjectResult {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
