import { hkdfSync } from 'node:crypto';
import type { JoinAnswer, JoinRequest, RenewAnswer } from '../../../feed/join.ts';
import type { Database } from '../../../storage/db.ts';
import {
  enrol,
  lockEnrolled,
  lockJoinToken,
  markJoinTokenUsed,
  offerNextKey,
} from '../../../storage/repositories/enrolment.ts';
import { seal, unseal } from '../../../util/sealed-value.ts';
import { Refusal } from '../feed-refusal.ts';
import { sealingKeyContext } from './enrolled-instances.ts';
import { joinTokenHash } from './join-token.ts';

/** A worker renews at half of it. */
export const CREDENTIAL_VALID_MS = 7 * 86_400_000;
/** An expired credential may still renew itself. */
export const RENEWABLE_AFTER_EXPIRY_MS = 30 * 86_400_000;

export interface InstallationSecrets {
  readonly installation: string;
  /** Public half of the pair that the installation signs with. */
  readonly installationKey: string;
  /** Of the installation. */
  readonly sealingKey: string;
}

/**
 * Enrols an instance, in exchange for a token. What was answered to it before is answered again: the answer may have been lost. Throws
 * `Refusal` with a sentence for the operator of the worker; a token that is refused is not used up.
 */
export async function joinInstance(
  db: Database,
  { installation, installationKey, sealingKey }: InstallationSecrets,
  request: JoinRequest,
): Promise<JoinAnswer> {
  const { instanceId, publicKey } = request;
  return db.write(async (tx) => {
    const token = await lockJoinToken(tx, joinTokenHash(request.token));
    if (token === null) {
      throw new Refusal(403, `The join token is not known here. ${GET_ANOTHER}`, 'token_unknown');
    }
    const known = await lockEnrolled(tx, instanceId);
    const answer = (sealed: string): JoinAnswer => ({
      instanceId,
      region: token.region,
      role: 'worker',
      installation,
      installationKey,
      sealingKey: unseal(sealed, sealingKey, sealingKeyContext(instanceId)),
      validForMs: CREDENTIAL_VALID_MS,
    });
    if (token.usedBy !== null) {
      const isRepeated = token.usedBy === instanceId && known?.publicKey === publicKey && !known.revoked;
      if (isRepeated && !token.expired) return answer(known.sealingKeySealed);
      throw new Refusal(403, `The join token has been used. ${GET_ANOTHER}`, 'token_used');
    }
    if (token.expired) throw new Refusal(403, `The join token has expired. ${GET_ANOTHER}`, 'token_expired');
    if (request.region !== null && request.region !== token.region) {
      throw new Refusal(
        403,
        `The join token is for region ${token.region}, and CLAVIGER_REGION is ${request.region}. Unset CLAVIGER_REGION, or get a token for ${request.region}.`,
        'other_region',
      );
    }
    if (known !== null && !known.revoked && known.expiredForMs < 0 && known.publicKey !== publicKey) {
      throw new Refusal(
        409,
        `Instance ${instanceId} is enrolled already, with another key. If its data directory has lost the key, revoke it first (POST /fleet/workers/${instanceId}/revoke); if the directory is a copy, remove instance.json from the copy.`,
        'enrolled_already',
      );
    }
    await markJoinTokenUsed(tx, token.id, instanceId);
    const enrolled = await enrol(tx, {
      instanceId,
      region: token.region,
      role: token.role,
      publicKey,
      sealingKeySealed: seal(regionSealingKey(sealingKey, token.region), sealingKey, sealingKeyContext(instanceId)),
      validForMs: CREDENTIAL_VALID_MS,
    });
    return answer(enrolled.sealingKeySealed);
  });
}

/**
 * What secrets are sealed with on their way to the joined workers of a region, and on their disks. One key per region, so that a new worker
 * can start from what another one of its region has put into the snapshot mirror; all of them hold the same secrets anyway.
 */
export function regionSealingKey(installationSealingKey: string, region: string): string {
  const key = hkdfSync('sha256', installationSealingKey, 'claviger', `sealing key of region ${region}`, 32);
  return Buffer.from(key).toString('base64url');
}

/** The request was signed with a good key of the instance. Throws `Refusal`. */
export async function renewCredential(db: Database, instanceId: string, publicKey: string): Promise<RenewAnswer> {
  return db.write(async (tx) => {
    const known = await lockEnrolled(tx, instanceId);
    // Whoever judged the signature may have known less than the database.
    if (known === null || known.revoked) throw revoked(instanceId);
    if (known.expiredForMs > RENEWABLE_AFTER_EXPIRY_MS) throw expired(known.expiredForMs, true);
    await offerNextKey(tx, instanceId, publicKey, CREDENTIAL_VALID_MS);
    return { validForMs: CREDENTIAL_VALID_MS };
  });
}

export function revoked(instanceId: string): Refusal {
  return new Refusal(403, `Instance ${instanceId} was revoked. ${GET_ANOTHER}`, 'revoked');
}

/** `forGood`: too long ago to renew. */
export function expired(expiredForMs: number, forGood: boolean): Refusal {
  const days = Math.max(0, Math.floor(expiredForMs / 86_400_000));
  const todo = forGood ? `Remove the directory identity/. ${GET_ANOTHER}` : 'It can still renew itself.';
  return new Refusal(403, `The credential of this worker expired ${days} days ago. ${todo}`, 'expired');
}

const GET_ANOTHER =
  'Get a new token on an admin ("claviger fleet token --region <region>") and start the worker with CLAVIGER_JOIN_TOKEN set to it.';
