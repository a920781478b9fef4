import { BlockList, isIP } from 'node:net';
import type { JsonObject } from '../domain/virtual-key.ts';
import type { Environment } from './environment-references.ts';
import { readText, splitList } from './read-variable.ts';
import type { OutboundSettings } from './settings.ts';
import { SettingsError } from './settings-error.ts';
import { checkCertificateFile } from './tls-files.ts';

/** `SERVER_ROOT_PATH` as '' or '/prefix'. */
export function rootPath(written: string | null): string {
  const path = `/${(written ?? '').trim()}`.replace(/\/{2,}/g, '/').replace(/\/$/, '');
  const segments = path.split('/').slice(1);
  if (segments.every((segment) => /^[A-Za-z0-9._~-]+$/.test(segment) && segment !== '.' && segment !== '..'))
    return path;
  throw new SettingsError(
    'SERVER_ROOT_PATH must be a plain path such as /llm or /team/llm: letters, digits, and . _ ~ - between slashes.',
  );
}

/** Origins as browsers send them: scheme, host and port, without path. */
export function corsSettings(
  origins: string | null,
  credentials: boolean,
): { readonly origins: readonly string[]; readonly credentials: boolean; readonly warning: string | null } {
  const listed = splitList(origins ?? '*');
  for (const origin of listed) {
    if (origin === '*') continue;
    if (!URL.canParse(origin) || new URL(origin).origin !== origin.replace(/\/$/, '').toLowerCase()) {
      throw new SettingsError(
        `LITELLM_CORS_ORIGINS has an entry that is no origin: ${origin}. Write for example https://app.example.com, without a path, or *.`,
      );
    }
  }
  if (listed.includes('*')) {
    const warning = credentials
      ? 'LITELLM_CORS_ALLOW_CREDENTIALS has no effect while LITELLM_CORS_ORIGINS is *. List the origins.'
      : null;
    return { origins: ['*'], credentials: false, warning };
  }
  return { origins: listed.map((origin) => new URL(origin).origin), credentials, warning: null };
}

/** Addresses and ranges in CIDR form; a plain address becomes the range that holds only it. */
export function trustedProxies(written: string | null): string[] {
  return splitList(written).map((entry) => {
    const [address = '', prefix, ...rest] = entry.split('/');
    const family = isIP(address);
    const bits = family === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (family === 0 || rest.length > 0 || !(length >= 0 && length <= bits)) {
      throw new SettingsError(
        `CLAVIGER_TRUSTED_PROXIES has an entry that is neither an address nor a range: ${entry}. Write for example 10.0.0.0/8 or fd00::/8.`,
      );
    }
    new BlockList().addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4');
    return `${address}/${length}`;
  });
}

/** How providers are reached: proxies and certificates. */
export function outboundSettings(
  env: Environment,
  litellmSettings: JsonObject,
  cwd: string,
): { readonly outbound: OutboundSettings; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const either = (name: string): string | null => readText(env, name.toLowerCase()) ?? readText(env, name);
  const proxy = (name: string): string | null => {
    const text = either(name);
    if (text === null) return null;
    const url = text.includes('://') ? text : `http://${text}`;
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new SettingsError(`${name} must be the URL of an HTTP proxy, for example http://proxy.example.com:3128.`);
    }
    return url;
  };

  const written = readText(env, 'SSL_VERIFY') ?? litellmSettings['ssl_verify'] ?? true;
  const word = String(written).toLowerCase();
  const sslVerify = word !== 'false' && word !== '0' && word !== 'no' && word !== 'off';
  const isPath = typeof written === 'string' && sslVerify && !['true', '1', 'yes', 'on'].includes(word);
  const certFile = isPath ? written : readText(env, 'SSL_CERT_FILE');
  if (!sslVerify) {
    warnings.push(
      'ssl_verify is off: the certificates of providers are not checked, and provider keys can be read on the way.',
    );
  }
  return {
    outbound: {
      httpsProxy: proxy('HTTPS_PROXY') ?? proxy('ALL_PROXY'),
      httpProxy: proxy('HTTP_PROXY') ?? proxy('ALL_PROXY'),
      noProxy: splitList(either('NO_PROXY')).map((host) => host.toLowerCase()),
      caFile: certFile === null ? null : checkCertificateFile(certFile, isPath ? 'ssl_verify' : 'SSL_CERT_FILE', cwd),
      sslVerify,
    },
    warnings,
  };
}
