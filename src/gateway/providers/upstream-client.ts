import type { Deployment } from '../../domain/deployment.ts';
import type { OutboundSettings } from '../../settings/settings.ts';
import type { Clock } from '../../util/clock.ts';
import { Http1Upstream } from './http1-upstream.ts';
import { UndiciUpstream } from './undici-upstream.ts';
import type { Upstream, UpstreamHandler, UpstreamRequest } from './upstream.ts';
import { upstreamErrorFrom } from './upstream-error.ts';
import { readAuthorities, upstreamTls } from './upstream-tls.ts';

/**
 * Sends requests over the network: directly with our own HTTP/1.1 client, through a forward proxy with undici. One upstream
 * for each base URL and TLS identity, made at the first request to it.
 */
export class UpstreamClient implements Upstream {
  readonly #settings: OutboundSettings;
  readonly #clock: Clock;
  readonly #upstreams = new Map<string, Upstream>();
  readonly #byDeployment = new WeakMap<Deployment, Upstream>();
  #authorities: string[] | undefined;
  #authoritiesRead = false;

  constructor(settings: OutboundSettings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  dispatch(request: UpstreamRequest, handler: UpstreamHandler): void {
    let upstream: Upstream;
    try {
      upstream = this.#byDeployment.get(request.deployment) ?? this.#remember(request.deployment);
    } catch (error) {
      // A certificate file that can not be read, or an address that is none.
      handler.onStart(() => {});
      handler.onError(upstreamErrorFrom(error as Error));
      return;
    }
    upstream.dispatch(request, handler);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#upstreams.values()].map((upstream) => upstream.close()));
    this.#upstreams.clear();
  }

  #remember(deployment: Deployment): Upstream {
    const { apiBase, sslVerify, clientCertPath, clientKeyPath } = deployment;
    const name = [apiBase, sslVerify, clientCertPath, clientKeyPath].join(' ');
    let upstream = this.#upstreams.get(name);
    if (upstream === undefined) {
      const url = new URL(apiBase);
      if (!this.#authoritiesRead) {
        this.#authorities = readAuthorities(this.#settings);
        this.#authoritiesRead = true;
      }
      const tls = upstreamTls(deployment, this.#settings, this.#authorities);
      const proxy = proxyFor(url, this.#settings);
      upstream = proxy === null ? new Http1Upstream(url, tls, this.#clock) : new UndiciUpstream(url, proxy, tls);
      this.#upstreams.set(name, upstream);
    }
    this.#byDeployment.set(deployment, upstream);
    return upstream;
  }
}

/** The proxy for this URL by the usual variables, or null for a direct connection. */
export function proxyFor(
  url: URL,
  options: Pick<OutboundSettings, 'httpProxy' | 'httpsProxy' | 'noProxy'>,
): string | null {
  const proxy = url.protocol === 'https:' ? options.httpsProxy : options.httpProxy;
  if (proxy === null || proxy === '') return null;
  for (const rule of options.noProxy) {
    if (rule === '*') return null;
    const [host, port] = splitPort(rule);
    if (port !== null && port !== (url.port || (url.protocol === 'https:' ? '443' : '80'))) continue;
    const suffix = host.replace(/^\*?\./, '');
    const name = url.hostname.toLowerCase();
    if (name === suffix || name.endsWith(`.${suffix}`)) return null;
  }
  return proxy;
}

function splitPort(rule: string): [host: string, port: string | null] {
  const match = /^(.*[^:]):(\d+)$/.exec(rule);
  return match ? [match[1] ?? rule, match[2] ?? null] : [rule, null];
}
