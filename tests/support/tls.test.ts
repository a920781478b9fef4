import { X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { createCertificateAuthority } from './tls.ts';

it('issues certificates that Node reads, that its authority signed, for the names asked for', async () => {
  await using authority = await createCertificateAuthority('Somebody');
  const { cert, keyPath } = await authority.serverCertificate({ names: ['DNS:gateway.example', 'IP:10.0.0.7'] });
  const read = new X509Certificate(cert);
  const ca = new X509Certificate(authority.ca);
  expect(read.verify(ca.publicKey)).toBe(true);
  expect(read.checkIssued(ca)).toBe(true);
  expect(ca.ca).toBe(true);
  expect(read.checkHost('gateway.example')).toBe('gateway.example');
  expect(read.checkIP('10.0.0.7')).toBe('10.0.0.7');
  expect(read.checkHost('other.example')).toBeUndefined();
  expect((await stat(keyPath)).mode & 0o777).toBe(0o600);
});

it('issues an expired certificate that clients refuse', async () => {
  await using authority = await createCertificateAuthority();
  await expect(handshake(authority.ca, await authority.serverCertificate({ days: -1 }))).rejects.toThrow(/expired/);
  expect(await handshake(authority.ca, await authority.serverCertificate())).toBe(true);
});

async function handshake(ca: string, { cert, key }: { cert: string; key: string }): Promise<boolean> {
  const server = createServer({ cert, key }, (socket) => socket.on('error', () => undefined));
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await new Promise<boolean>((resolve, reject) => {
      const socket: TLSSocket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, ca }, () => {
        resolve(socket.authorized);
        socket.destroy();
      });
      socket.once('error', reject);
    });
  } finally {
    server.close();
  }
}
