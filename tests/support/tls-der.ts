import { createHash, type KeyObject, sign } from 'node:crypto';

/** An X.509 certificate written byte by byte (DER), so that tests need neither a library nor the `openssl` command. */
export interface CertificateFields {
  readonly serial: number;
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly issuerPublicKey: KeyObject;
  /** P-256. */
  readonly issuerPrivateKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly use: 'authority' | 'server' | 'client';
  /** `DNS:name` or `IP:address`. */
  readonly names: readonly string[];
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const COMMON_NAME = '2.5.4.3';
const SUBJECT_KEY_ID = '2.5.29.14';
const KEY_USAGE = '2.5.29.15';
const ALTERNATIVE_NAMES = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const AUTHORITY_KEY_ID = '2.5.29.35';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const PURPOSES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };

/** The certificate as PEM. */
export function certificatePem(fields: CertificateFields): string {
  const algorithm = sequence(oid(ECDSA_WITH_SHA256));
  const body = sequence(
    context(0, integer(2)),
    integer(fields.serial),
    algorithm,
    distinguishedName(fields.issuer),
    sequence(time(fields.notBefore), time(fields.notAfter)),
    distinguishedName(fields.subject),
    spki(fields.publicKey),
    context(3, sequence(...extensions(fields))),
  );
  const signature = sign('sha256', body, fields.issuerPrivateKey);
  const der = sequence(body, algorithm, bitString(signature, 0));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function extensions({ use, names, publicKey, issuerPublicKey }: CertificateFields): Buffer[] {
  const list = [
    extension(SUBJECT_KEY_ID, false, tagged(0x04, keyId(publicKey))),
    extension(AUTHORITY_KEY_ID, false, sequence(tagged(0x80, keyId(issuerPublicKey)))),
  ];
  if (use === 'authority') {
    list.push(extension(BASIC_CONSTRAINTS, true, sequence(tagged(0x01, Buffer.from([0xff])))));
    // keyCertSign and cRLSign.
    list.push(extension(KEY_USAGE, true, bitString(Buffer.from([0x06]), 1)));
    return list;
  }
  // digitalSignature.
  list.push(extension(KEY_USAGE, true, bitString(Buffer.from([0x80]), 7)));
  list.push(extension(EXTENDED_KEY_USAGE, false, sequence(oid(PURPOSES[use]))));
  if (names.length > 0) list.push(extension(ALTERNATIVE_NAMES, false, sequence(...names.map(alternativeName))));
  return list;
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [tagged(0x01, Buffer.from([0xff]))] : []), tagged(0x04, value));
}

function alternativeName(name: string): Buffer {
  if (name.startsWith('DNS:')) return tagged(0x82, Buffer.from(name.slice(4), 'latin1'));
  if (name.startsWith('IP:')) return tagged(0x87, addressBytes(name.slice(3)));
  throw new Error(`"${name}" must begin with DNS: or IP:`);
}

function addressBytes(address: string): Buffer {
  if (address === '::1') return Buffer.from([...new Array<number>(15).fill(0), 1]);
  const parts = address.split('.').map(Number);
  if (parts.length !== 4) throw new Error(`"${address}" must be an IPv4 address or ::1`);
  return Buffer.from(parts);
}

function distinguishedName(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(oid(COMMON_NAME), tagged(0x0c, Buffer.from(commonName)))));
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1').update(spki(key)).digest();
}

function time(date: Date): Buffer {
  // YYMMDDHHMMSSZ; good until 2049.
  return tagged(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tagged(0x06, Buffer.from(bytes));
}

/** Small positive numbers only: four bytes, led by a zero so that the sign is clear. */
function integer(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32BE(value, 1);
  let start = 0;
  while (start < 4 && bytes[start] === 0 && (bytes[start + 1] ?? 0) < 0x80) start += 1;
  return tagged(0x02, bytes.subarray(start));
}

function bitString(bytes: Buffer, unusedBits: number): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([unusedBits]), bytes]));
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function context(number: number, content: Buffer): Buffer {
  return tagged(0xa0 + number, content);
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}
