import type { DownFrame } from '../../feed/protocol.ts';
import { Refusal } from './feed-refusal.ts';

/** Whom a signed request comes from: a joined worker. On the unix socket of the instance there is none. */
export interface FeedPeer {
  readonly instanceId: string;
  readonly region: string;
  readonly role: string;
  /** The stream whose session the request was made with; null: it is signed, and may speak for any gateway process of the instance. */
  readonly session: { readonly gatewayId: string; readonly session: string } | null;
  /** What is written to its stream: frames for its eyes, as lines; null is a sign of life. */
  readonly encode: (frame: DownFrame | null) => string;
}

/** A joined worker speaks for its own gateway processes only, and of its own region. Throws `Refusal`. */
export function assertOwn(
  peer: FeedPeer | null,
  claim: { readonly gatewayId: string; readonly session?: string; readonly region?: string; readonly role?: string },
): void {
  if (peer === null) return;
  const refuse = (what: string, claimed: string, own: string): never => {
    throw new Refusal(
      403,
      `this request is signed by an instance whose ${what} is ${own}, not ${claimed}`,
      'not_yours',
    );
  };
  const slash = claim.gatewayId.lastIndexOf('/');
  const instanceId = claim.gatewayId.slice(0, Math.max(0, slash));
  if (instanceId !== peer.instanceId || !SLOT.test(claim.gatewayId.slice(slash + 1))) {
    refuse('id', claim.gatewayId.slice(0, 100), peer.instanceId);
  }
  const { session } = peer;
  if (session !== null && (claim.gatewayId !== session.gatewayId || claim.session !== session.session)) {
    throw new Refusal(
      403,
      `this request is of the session of ${session.gatewayId}, and speaks for another`,
      'not_yours',
    );
  }
  if (claim.region !== undefined && claim.region !== peer.region) refuse('region', claim.region, peer.region);
  if (claim.role !== undefined && claim.role !== peer.role) refuse('role', claim.role, peer.role);
}

const SLOT = /^\d{1,6}$/;
