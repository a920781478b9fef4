/** From a database URL to what node-postgres needs, with TLS as libpq understands `sslmode` (node-postgres reads it differently). */
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import pg from 'pg';

export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof SSL_MODES)[number];

export interface DatabaseAddress {
  readonly config: pg.ClientConfig;
  /** Try TLS first and go on without when the server does not have it (`prefer`, the default, and `allow`). */
  readonly tlsOptional: boolean;
  /** For messages: host, port and database name, never user or password. */
  readonly description: string;
}

/**
 * Throws an `Error` that names the variable (`name`) and the file or parameter that can not be used, and never the URL itself.
 */
export function databaseAddress(url: string, name = 'DATABASE_URL'): DatabaseAddress {
  const { rest, ssl } = takeSslParameters(url);
  const target = resolveTarget(rest, name);
  const mode = sslMode(ssl, name);
  const isSocket = target.host.startsWith('/');
  // PostgreSQL has no TLS on unix sockets.
  const tls = isSocket || mode === 'disable' ? false : tlsOptions(mode, ssl, target.host, name);
  return {
    config: {
      connectionString: rest,
      ssl: tls,
      ...(tls !== false && ssl.get('sslnegotiation') === 'direct' ? { sslnegotiation: 'direct' } : {}),
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      keepAlive: true,
      fallback_application_name: 'claviger',
      types: { getTypeParser },
    },
    tlsOptional: tls !== false && (mode === 'prefer' || mode === 'allow'),
    description: `${target.host}:${target.port}/${target.database ?? ''}`,
  };
}

/**
 * One connection outside of the pool, with TLS or without as the address says. The caller ends it. Errors that come later reach the
 * statement that is running, not the process.
 */
export async function openClient(address: DatabaseAddress, overrides: pg.ClientConfig = {}): Promise<pg.Client> {
  const open = async (tls: pg.ClientConfig): Promise<pg.Client> => {
    const client = new pg.Client({ ...address.config, ...overrides, ...tls });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  return open({}).catch((error: unknown) => {
    if (address.tlsOptional && hasNoTls(error)) return open({ ssl: false });
    throw error;
  });
}

/** The server said that it does not have TLS. */
export function hasNoTls(error: unknown): boolean {
  return error instanceof Error && /does not support SSL/.test(error.message);
}

/** Waiting for a connection, a free one or a new one; then the call fails as "database away". */
export const CONNECT_TIMEOUT_MS = 5_000;
/** For a network that swallows packets: longer than any `statement_timeout`, after which the server itself would have answered. */
export const QUERY_TIMEOUT_MS = 20_000;

const INT8 = 20;
const DATE = 1082;

/** `bigint` columns as bigint (a number would round), dates as text (a `Date` would move them by the local time zone). */
const getTypeParser: typeof pg.types.getTypeParser = ((oid: number, format?: 'text' | 'binary') => {
  if (oid === INT8) return BigInt;
  if (oid === DATE) return String;
  return pg.types.getTypeParser(oid, format as 'text');
}) as typeof pg.types.getTypeParser;

const SSL_PARAMETERS = [
  'ssl',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslpassword',
  'sslnegotiation',
  'uselibpqcompat',
] as const;

function takeSslParameters(url: string): { rest: string; ssl: URLSearchParams } {
  const at = url.indexOf('?');
  const ssl = new URLSearchParams();
  if (at < 0) return { rest: url, ssl };
  const kept: string[] = [];
  for (const part of url.slice(at + 1).split('&')) {
    const [[name, value] = ['', '']] = new URLSearchParams(part);
    if ((SSL_PARAMETERS as readonly string[]).includes(name)) ssl.set(name, value);
    else if (part !== '') kept.push(part);
  }
  return { rest: kept.length === 0 ? url.slice(0, at) : `${url.slice(0, at)}?${kept.join('&')}`, ssl };
}

function resolveTarget(url: string, name: string): { host: string; port: number; database: string | undefined } {
  let client: pg.Client;
  try {
    client = new pg.Client({ connectionString: url });
  } catch {
    throw new Error(
      `${name} can not be read. Expected postgresql://user:password@host:5432/database?sslmode=verify-full.`,
    );
  }
  return { host: client.host, port: client.port, database: client.database };
}

function sslMode(ssl: URLSearchParams, name: string): SslMode {
  const given = ssl.get('sslmode') ?? (ssl.get('ssl') === 'true' || ssl.get('ssl') === '1' ? 'require' : 'prefer');
  const mode = SSL_MODES.find((known) => known === given);
  if (mode === undefined)
    throw new Error(`sslmode=${given} in ${name} is not known. Use one of ${SSL_MODES.join(', ')}.`);
  return mode;
}

function tlsOptions(mode: SslMode, ssl: URLSearchParams, host: string, name: string): ConnectionOptions {
  const rootFile = ssl.get('sslrootcert');
  const certFile = ssl.get('sslcert');
  const keyFile = ssl.get('sslkey');
  const passphrase = ssl.get('sslpassword');
  // As in libpq, `require` with a root certificate means verify-ca.
  const verified = mode === 'verify-full' || mode === 'verify-ca' || (mode === 'require' && rootFile !== null);
  return {
    rejectUnauthorized: verified,
    // The host is given here because node-postgres tells the TLS layer no name when it is an IP address.
    checkServerIdentity: (_name, certificate) =>
      mode === 'verify-full' ? checkServerIdentity(host, certificate) : undefined,
    ...(rootFile === null || rootFile === 'system' ? {} : { ca: readPem('sslrootcert', rootFile, name) }),
    ...(certFile === null ? {} : { cert: readPem('sslcert', certFile, name) }),
    ...(keyFile === null ? {} : { key: readPem('sslkey', keyFile, name) }),
    ...(passphrase === null ? {} : { passphrase }),
  };
}

function readPem(parameter: string, path: string, name: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`${parameter} in ${name} names ${path}, which can not be read: ${(error as Error).message}`);
  }
}
