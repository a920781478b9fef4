import type { IncomingHttpHeaders } from 'node:http';
import type { GatewayContext } from '../gateway-context.ts';

export interface AddressedRequest {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/**
 * Address of the caller. `x-forwarded-for` counts only from a trusted proxy: the right-most entry that is not itself one, because
 * everything left of it was written by somebody else.
 */
export function clientAddress(request: AddressedRequest, context: Pick<GatewayContext, 'trustsProxy'>): string | null {
  const peer = plainAddress(request.socket.remoteAddress);
  if (peer === null) return null;
  const forwarded = request.headers['x-forwarded-for'];
  if (typeof forwarded !== 'string' || !context.trustsProxy(peer)) return peer;
  const hops = forwarded.split(',');
  for (let index = hops.length - 1; index >= 0; index--) {
    const address = plainAddress(hops[index]!.trim());
    if (address !== null && !context.trustsProxy(address)) return address;
  }
  return peer;
}

/** IPv4 addresses of a dual-stack socket in their own form. */
export function plainAddress(address: string | undefined): string | null {
  if (address === undefined || address === '') return null;
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
