import { readFileSync } from 'node:fs';
import { EnvHttpProxyAgent, request } from 'undici';
import { COST_MAP_BYTES_MAX } from '../prices/cost-map-copy.ts';
import type { OutboundSettings } from '../settings/settings.ts';

/** For the whole of it. */
const FETCH_TIMEOUT_MS = 60_000;

/** The text at an address, through the proxies and with the authorities that calls to providers use. */
export async function fetchCostMap(url: string, outbound: OutboundSettings): Promise<string> {
  const { caFile, httpProxy, httpsProxy, noProxy, sslVerify } = outbound;
  const tls = {
    rejectUnauthorized: sslVerify,
    ...(caFile === null ? {} : { ca: readFileSync(caFile, 'utf8') }),
  };
  const dispatcher = new EnvHttpProxyAgent({
    httpProxy: httpProxy ?? '',
    httpsProxy: httpsProxy ?? '',
    noProxy: noProxy.join(','),
    connect: tls,
    requestTls: tls,
  });
  try {
    const { body, statusCode } = await request(url, { dispatcher, signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    if (statusCode !== 200) {
      body.destroy();
      throw new Error(`its server answers ${statusCode}`);
    }
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > COST_MAP_BYTES_MAX) throw new Error(`it is longer than ${COST_MAP_BYTES_MAX} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    await dispatcher.destroy();
  }
}
