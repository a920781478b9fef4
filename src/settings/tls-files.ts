import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { SettingsError } from './settings-error.ts';

/**
 * Certificate and key of the public port: both or neither, readable, and made for each other. Checked at boot, because a
 * listener that fails at the first handshake helps nobody.
 */
export function checkTlsFiles(
  certPath: string | null,
  keyPath: string | null,
  cwd: string,
): { readonly certPath: string; readonly keyPath: string } | null {
  if (certPath === null && keyPath === null) return null;
  if (certPath === null || keyPath === null) {
    const [set, missing] =
      certPath === null ? ['SSL_KEYFILE_PATH', 'SSL_CERTFILE_PATH'] : ['SSL_CERTFILE_PATH', 'SSL_KEYFILE_PATH'];
    throw new SettingsError(`${set} is set but ${missing} is not. Set both to serve TLS, or neither.`);
  }
  const files = { certPath: resolve(cwd, certPath), keyPath: resolve(cwd, keyPath) };
  const certificate = readCertificate(files.certPath, 'SSL_CERTFILE_PATH');
  const key = readKey(files.keyPath);
  if (!certificate.checkPrivateKey(key)) {
    throw new SettingsError(
      `The key ${files.keyPath} (SSL_KEYFILE_PATH) does not belong to the certificate ${files.certPath} (SSL_CERTFILE_PATH). The certificate of this server must be the first one in its file.`,
    );
  }
  return files;
}

/** A readable PEM file with at least one certificate; the absolute path. */
export function checkCertificateFile(path: string, name: string, cwd: string): string {
  const absolute = resolve(cwd, path);
  readCertificate(absolute, name);
  return absolute;
}

function readCertificate(path: string, name: string): X509Certificate {
  const text = readFile(path, name);
  try {
    return new X509Certificate(text);
  } catch {
    throw new SettingsError(`${path} (${name}) holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).`);
  }
}

function readKey(path: string): KeyObject {
  const text = readFile(path, 'SSL_KEYFILE_PATH');
  try {
    return createPrivateKey(text);
  } catch {
    const reason = /ENCRYPTED/.test(text.toString('latin1'))
      ? 'is protected by a passphrase; store it without one'
      : 'holds no private key in PEM form';
    throw new SettingsError(`${path} (SSL_KEYFILE_PATH) ${reason}.`);
  }
}

function readFile(path: string, name: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new SettingsError(`${path} (${name}) can not be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}
