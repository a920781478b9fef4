import { readFileSync } from 'node:fs';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { Configuration } from '../../domain/configuration.ts';
import type { Deployment } from '../../domain/deployment.ts';
import { FAKE_PROVIDER } from '../../domain/provider-catalogue.ts';
import type { OutboundSettings } from '../../settings/settings.ts';
import { type Check, fail, ok, warn } from './check.ts';

/** A provider that does not accept a connection within this time is called unreachable. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** Providers that are tried at the same time. */
const PARALLEL_MAX = 8;

/** Can each provider be connected to, and is there a key for it? Nothing is sent: no request, no key. */
export async function checkProviders(
  configuration: Configuration,
  outbound: OutboundSettings,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<Check[]> {
  const groups = [...configuration.groups.values(), ...configuration.wildcards];
  const deployments = groups
    .flatMap((group) => group.deployments)
    .filter((deployment) => deployment.provider !== FAKE_PROVIDER);
  if (deployments.length === 0) return [];

  const byOrigin = new Map<string, Deployment>();
  for (const deployment of deployments) {
    const { origin } = new URL(deployment.apiBase);
    // The strictest one speaks for all deployments of a server.
    if (!byOrigin.has(origin) || deployment.sslVerify) byOrigin.set(origin, deployment);
  }
  const waiting = [...byOrigin];
  const checks = new Map<string, Check>();
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [origin, deployment] = next;
      checks.set(origin, await checkOrigin(origin, deployment, outbound, timeoutMs));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_MAX }, work));
  return [...[...byOrigin.keys()].map((origin) => checks.get(origin)!), checkKeys(deployments)];
}

function checkKeys(deployments: readonly Deployment[]): Check {
  const without = deployments.filter(({ apiKey }) => apiKey === null);
  const name = 'provider keys';
  if (without.length === 0) return ok(name, `all of ${deployments.length} deployments have a key`);
  const names = [...new Set(without.map(({ litellmModel }) => litellmModel))].join(', ');
  const todo = 'Set litellm_params.api_key or the variable of the provider, unless the server needs none.';
  return warn(name, `${without.length} of ${deployments.length} deployments have none: ${names}`, todo);
}

async function checkOrigin(
  origin: string,
  deployment: Deployment,
  outbound: OutboundSettings,
  timeoutMs: number,
): Promise<Check> {
  const name = `provider ${origin}`;
  const url = new URL(origin);
  const proxy = proxyFor(url, outbound);
  try {
    if (proxy !== null) {
      await connect(new URL(proxy), null, timeoutMs);
      return ok(name, 'reached through the proxy, which accepts connections; the provider itself was not asked');
    }
    const tls = url.protocol === 'https:' ? tlsOptions(deployment, outbound) : null;
    const started = performance.now();
    await connect(url, tls, timeoutMs);
    const text = `accepts connections (${Math.round(performance.now() - started)} ms)`;
    return deployment.sslVerify || tls === null
      ? ok(name, text)
      : warn(name, `${text}; its certificate is not checked`);
  } catch (error) {
    return fail(name, explain(error, proxy !== null), adviceFor(error));
  }
}

/** The proxy that leads there, by `NO_PROXY`'s usual rules; null: direct. */
export function proxyFor(url: URL, { httpProxy, httpsProxy, noProxy }: OutboundSettings): string | null {
  const proxy = url.protocol === 'https:' ? httpsProxy : httpProxy;
  if (proxy === null) return null;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const excluded = noProxy.some((entry) => {
    if (entry === '*') return true;
    const [, name = entry, entryPort] = /^(.*):(\d+)$/.exec(entry) ?? [];
    if (entryPort !== undefined && isIP(entry) === 0 && entryPort !== port) return false;
    const wanted = (isIP(entry) === 0 ? name : entry).replace(/^\*?\./, '');
    return host === wanted || host.endsWith(`.${wanted}`);
  });
  return excluded ? null : proxy;
}

function tlsOptions({ sslVerify }: Deployment, { caFile }: OutboundSettings): ConnectionOptions {
  return { rejectUnauthorized: sslVerify, ...(caFile === null ? {} : { ca: readFileSync(caFile, 'utf8') }) };
}

function connect(url: URL, tls: ConnectionOptions | null, timeoutMs: number): Promise<void> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const socket: Socket =
      tls === null
        ? connectTcp({ host, port }, settle)
        : connectTls({ host, port, ...tls, ...(isIP(host) === 0 ? { servername: host } : {}) }, settle);
    socket.setTimeout(timeoutMs, () => settle(new TimeoutError()));
    socket.on('error', settle);
  });
}

class TimeoutError extends Error {
  readonly code = 'TIMEOUT';
}

const TLS_CODE = /CERT|TLS|SSL|SELF_SIGNED|ISSUER|ALTNAME|SIGNATURE/;

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : error instanceof Error ? error.message : String(error);
}

function explain(error: unknown, proxied: boolean): string {
  const code = codeOf(error);
  const what = proxied ? 'its proxy' : 'it';
  if (code === 'TIMEOUT') return `${what} does not answer`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `the name of ${what === 'it' ? 'the host' : what} is not known (${code})`;
  if (code === 'ECONNREFUSED') return `${what} refuses connections`;
  return TLS_CODE.test(code) ? `its certificate is not accepted (${code})` : `${what} can not be reached (${code})`;
}

function adviceFor(error: unknown): string {
  if (TLS_CODE.test(codeOf(error))) {
    return 'Set SSL_CERT_FILE to the authorities that sign it; ssl_verify: false leaves it unchecked.';
  }
  return 'Check api_base, DNS, firewall, and HTTPS_PROXY / NO_PROXY.';
}
