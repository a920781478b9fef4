import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { Deployment } from '../../domain/deployment.ts';
import type { OutboundSettings } from '../../settings/settings.ts';

/** Options for a TLS connection to a provider, as `tls.connect` takes them. */
export interface UpstreamTls {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/** Trusted authorities: Node's own and those of `SSL_CERT_FILE`. Undefined: only Node's own. */
export function readAuthorities(settings: Pick<OutboundSettings, 'caFile'>): string[] | undefined {
  // Added, not instead of them: a file with one private authority must not cut off the public ones.
  return settings.caFile === null ? undefined : [...rootCertificates, readFileSync(settings.caFile, 'utf8')];
}

export function upstreamTls(
  deployment: Pick<Deployment, 'sslVerify' | 'clientCertPath' | 'clientKeyPath'>,
  settings: Pick<OutboundSettings, 'sslVerify'>,
  authorities: string[] | undefined,
): UpstreamTls {
  const { clientCertPath, clientKeyPath } = deployment;
  return {
    rejectUnauthorized: deployment.sslVerify && settings.sslVerify,
    ...(authorities === undefined ? {} : { ca: authorities }),
    ...(clientCertPath === null
      ? {}
      : { cert: readFileSync(clientCertPath, 'utf8'), key: readFileSync(clientKeyPath ?? clientCertPath, 'utf8') }),
  };
}
