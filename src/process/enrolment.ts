import { setTimeout as delay } from 'node:timers/promises';
import { type JoinRequest, parseJoinAnswer, parseRefusal } from '../feed/join.ts';
import { backOffMs } from '../gateway/live/back-off.ts';
import { ControlPlaneClient, describeFailure } from '../gateway/live/control-plane-client.ts';
import { FEED_BACK_OFF_MAX_MS, FEED_BACK_OFF_MIN_MS } from '../gateway/live/feed-client.ts';
import type { Log } from '../observe/log.ts';
import type { Settings } from '../settings/settings.ts';
import type { Clock } from '../util/clock.ts';
import { publicKeyOf, readPrivateKey } from '../util/ed25519.ts';
import { OperatorError } from '../util/operator-error.ts';
import { type JoinedIdentity, nextPrivateKey, readIdentity, writeIdentity } from './joined-identity.ts';

export interface EnrolmentOptions {
  readonly settings: Pick<Settings, 'controlPlaneUrls' | 'dataDir' | 'joinToken' | 'outbound'>;
  readonly instanceId: string;
  /** `CLAVIGER_REGION` as it is set, or null. */
  readonly region: string | null;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Tests say how long no admin may answer. */
  readonly patienceMs?: number;
}

/** No admin has answered for so long: a token is not valid for longer. */
export const JOIN_PATIENCE_MS = 10 * 60_000;
const JOIN_TIMEOUT_MS = 15_000;

/**
 * Who this worker is: from disk, or at its first start from an admin, in exchange for its token. Throws `OperatorError` with a sentence when
 * it is nobody.
 */
export async function enrol(options: EnrolmentOptions): Promise<JoinedIdentity> {
  const { instanceId, log, region, settings } = options;
  const { dataDir, joinToken } = settings;
  const known = readIdentity(dataDir);
  if (known !== null) {
    assertSame(known, options);
    return known;
  }
  if (joinToken === null) {
    throw new OperatorError(
      'CONTROL_PLANE_URL is set, and this worker has not joined yet. Get a token on an admin (claviger fleet token --region <region>) and set CLAVIGER_JOIN_TOKEN to it for the first start.',
    );
  }
  const privateKey = nextPrivateKey(dataDir, null);
  const answer = await askToJoin(options, {
    token: joinToken,
    instanceId,
    region,
    role: 'worker',
    version: options.version,
    publicKey: publicKeyOf(readPrivateKey(privateKey)),
  });
  const identity: JoinedIdentity = { format: 1, ...answer, privateKey, renewedAtMs: options.clock.nowMs() };
  writeIdentity(dataDir, identity);
  log.info({ instanceId, region: identity.region, installation: identity.installation }, 'This worker has joined');
  return identity;
}

function assertSame(known: JoinedIdentity, { instanceId, region }: EnrolmentOptions): void {
  if (region !== null && region !== known.region) {
    throw new OperatorError(
      `CLAVIGER_REGION is ${region}, and this worker joined region ${known.region}. Unset CLAVIGER_REGION; or, to move it, remove identity/ from its data directory and join with a token for ${region}.`,
    );
  }
  if (instanceId !== known.instanceId) {
    throw new OperatorError(
      `identity/ in the data directory belongs to instance ${known.instanceId}, and instance.json names ${instanceId}. Put the files of one instance together, or remove identity/ and join with a new token.`,
    );
  }
}

async function askToJoin(options: EnrolmentOptions, request: JoinRequest) {
  const { clock, log, random, settings, patienceMs = JOIN_PATIENCE_MS } = options;
  const client = new ControlPlaneClient(settings.outbound);
  const body = JSON.stringify(request);
  const endMs = clock.monotonicMs() + patienceMs;
  const said = new Set<string>();
  let last = '';
  try {
    for (let attempt = 0; ; attempt++) {
      const address = settings.controlPlaneUrls[attempt % settings.controlPlaneUrls.length]!;
      try {
        const { status, text } = await post(client, address, body);
        if (status === 200) return parseJoinAnswer(text);
        const { code, error } = parseRefusal(text);
        if (code !== null && status < 500) throw new OperatorError(error);
        last = `${address} answered ${status}${status === 404 ? ', as an instance does that takes no workers' : ''}${error === '' ? '' : `: ${error}`}`;
      } catch (error) {
        if (error instanceof OperatorError) throw error;
        last = `${address}: ${describeFailure(error)}`;
      }
      if (!said.has(last)) log.warn({}, `This worker can not join yet, and tries again. ${last}`);
      said.add(last);
      const round = Math.floor(attempt / settings.controlPlaneUrls.length);
      const waitMs = backOffMs(round, FEED_BACK_OFF_MIN_MS, FEED_BACK_OFF_MAX_MS, random);
      if (clock.monotonicMs() + waitMs > endMs) {
        throw new OperatorError(
          `No admin of CONTROL_PLANE_URL let this worker join within ${Math.round(patienceMs / 1_000)} seconds. The last word: ${last}`,
        );
      }
      await delay(waitMs);
    }
  } finally {
    client.close();
  }
}

async function post(client: ControlPlaneClient, address: string, body: string) {
  const signal = AbortSignal.timeout(JOIN_TIMEOUT_MS);
  const answer = await client.post(address, { path: '/feed/v1/join', headers: {}, body, signal });
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > JOIN_ANSWER_BYTES_MAX) throw new Error('the answer is not one to a join');
    chunks.push(chunk);
  }
  return { status: answer.status, text: Buffer.concat(chunks).toString('utf8') };
}

const JOIN_ANSWER_BYTES_MAX = 64 * 1024;
