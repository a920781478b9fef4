import type { LineReader } from '../feed/signed-line.ts';
import { ControlPlaneClient } from '../gateway/live/control-plane-client.ts';
import type { FeedIdentity } from '../gateway/live/feed-client.ts';
import { type FeedTransport, SocketFeedTransport } from '../gateway/live/feed-transport.ts';
import { HttpsFeedTransport } from '../gateway/live/https-feed-transport.ts';
import { RequestSigner } from '../gateway/live/request-signer.ts';
import { SessionLines } from '../gateway/live/session-lines.ts';
import type { Log } from '../observe/log.ts';
import type { Settings } from '../settings/settings.ts';
import type { Clock } from '../util/clock.ts';
import { readPublicKey } from '../util/ed25519.ts';
import { CannotRun } from './child-life-cycle.ts';
import { IdentityOnDisk, type JoinedIdentity, readIdentity } from './joined-identity.ts';

/** How a gateway process reaches its control plane, and how far it trusts what comes from there. */
export interface FeedConnectionParts {
  readonly transport: FeedTransport;
  /** Undefined: the default of the feed client. */
  readonly backOffMaxMs?: number;
  readonly lineReader?: (identity: FeedIdentity) => LineReader;
}

/** The control process is next door: a long wait would only keep new keys out after it restarts. */
const LOCAL_BACK_OFF_MAX_MS = 250;

/** A worker that joined has no control process, and goes to the admins that it was told of. */
export function feedConnection(
  settings: Pick<Settings, 'controlPlaneUrls' | 'dataDir' | 'outbound'>,
  feedSocket: string,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): FeedConnectionParts {
  if (settings.controlPlaneUrls.length === 0) {
    return { transport: new SocketFeedTransport(feedSocket), backOffMaxMs: LOCAL_BACK_OFF_MAX_MS };
  }
  const identity = readIdentity(settings.dataDir);
  if (identity === null)
    throw new CannotRun('identity/ was removed while this worker ran; start it again to join anew.');
  const installationKey = readPublicKey(identity.installationKey);
  const { installation } = identity;
  const { transport, signer } = joinedConnection(settings, identity, { clock, log });
  return {
    transport,
    lineReader: ({ gatewayId, session }) =>
      new SessionLines({
        parties: { installation, gatewayId, session },
        installationKey,
        onAgreed: (keys) => signer.useSession(keys),
      }),
  };
}

/** `signer` is that of `transport`. */
export function joinedConnection(
  settings: Pick<Settings, 'controlPlaneUrls' | 'dataDir' | 'outbound'>,
  identity: JoinedIdentity,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): { readonly transport: FeedTransport; readonly signer: RequestSigner } {
  const signer = new RequestSigner({ identity: new IdentityOnDisk(settings.dataDir, identity), clock, log });
  const client = new ControlPlaneClient(settings.outbound);
  const addresses = settings.controlPlaneUrls;
  return { transport: new HttpsFeedTransport({ addresses, client, signer, log }), signer };
}
