import { sql } from 'kysely';
import type { Tx } from '../db.ts';

/** All moments are times of the database: the clocks of the instances play no part. */
export interface NewJoinToken {
  /** SHA-256 (hex) of the token. */
  readonly tokenHash: string;
  readonly region: string;
  readonly role: string;
  readonly ttlMs: number;
  readonly createdBy: string;
}

export interface JoinToken {
  readonly id: bigint;
  readonly region: string;
  readonly role: string;
  readonly expired: boolean;
  /** The instance that joined with it. */
  readonly usedBy: string | null;
}

export interface EnrolledInstance {
  readonly instanceId: string;
  readonly region: string;
  readonly role: string;
  /** SPKI in base64. */
  readonly publicKey: string;
  /** Offered at a renewal and not used yet. */
  readonly nextPublicKey: string | null;
  readonly sealingKeySealed: string;
  readonly expiresAtMs: number;
  /** Negative: not expired. */
  readonly expiredForMs: number;
  readonly revoked: boolean;
}

export interface NewEnrolment {
  readonly instanceId: string;
  readonly region: string;
  readonly role: string;
  readonly publicKey: string;
  readonly sealingKeySealed: string;
  readonly validForMs: number;
}

/** Returns when it expires. Tokens that expired more than a day ago go. */
export async function insertJoinToken(tx: Tx, token: NewJoinToken): Promise<Date> {
  await tx.deleteFrom('claviger.join_token').where('expires_at', '<', sql<Date>`now() - interval '1 day'`).execute();
  const row = await tx
    .insertInto('claviger.join_token')
    .values({
      token_hash: token.tokenHash,
      region: token.region,
      role: token.role,
      created_by: token.createdBy,
      expires_at: inMs(token.ttlMs),
    })
    .returning('expires_at')
    .executeTakeFirstOrThrow();
  return row.expires_at;
}

/** Nobody else uses it until the transaction ends. */
export async function lockJoinToken(tx: Tx, tokenHash: string): Promise<JoinToken | null> {
  const row = await tx
    .selectFrom('claviger.join_token')
    .select(['id', 'region', 'role', 'used_by', sql<boolean>`expires_at <= now()`.as('expired')])
    .where('token_hash', '=', tokenHash)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) return null;
  return { id: row.id, region: row.region, role: row.role, expired: row.expired, usedBy: row.used_by };
}

export async function markJoinTokenUsed(tx: Tx, id: bigint, usedBy: string): Promise<void> {
  await tx
    .updateTable('claviger.join_token')
    .set({ used_at: sql<Date>`now()`, used_by: usedBy })
    .where('id', '=', id)
    .execute();
}

/** Those of the ids that are enrolled. */
export async function findEnrolled(tx: Tx, instanceIds: readonly string[]): Promise<EnrolledInstance[]> {
  const rows = await selectEnrolled(tx)
    .where('instance_id', '=', sql<string>`any(${[...instanceIds]}::text[])`)
    .execute();
  return rows.map(enrolledFrom);
}

/** Nobody else changes it until the transaction ends. */
export async function lockEnrolled(tx: Tx, instanceId: string): Promise<EnrolledInstance | null> {
  const row = await selectEnrolled(tx).where('instance_id', '=', instanceId).forUpdate().executeTakeFirst();
  return row === undefined ? null : enrolledFrom(row);
}

/** What was known of the instance before is replaced; the caller has judged whether it may be. */
export async function enrol(tx: Tx, enrolment: NewEnrolment): Promise<EnrolledInstance> {
  const values = {
    region: enrolment.region,
    role: enrolment.role,
    public_key: enrolment.publicKey,
    next_public_key: null,
    sealing_key_sealed: enrolment.sealingKeySealed,
    expires_at: inMs(enrolment.validForMs),
    revoked_at: null,
    revoked_by: null,
  };
  await tx
    .insertInto('claviger.enrolled_instance')
    .values({ instance_id: enrolment.instanceId, ...values })
    .onConflict((conflict) => conflict.column('instance_id').doUpdateSet({ ...values, renewed_at: sql<Date>`now()` }))
    .execute();
  return (await lockEnrolled(tx, enrolment.instanceId))!;
}

/** Both keys are good from here on, until the new one is used. */
export async function offerNextKey(
  tx: Tx,
  instanceId: string,
  nextPublicKey: string,
  validForMs: number,
): Promise<void> {
  await tx
    .updateTable('claviger.enrolled_instance')
    .set({ next_public_key: nextPublicKey, renewed_at: sql<Date>`now()`, expires_at: inMs(validForMs) })
    .where('instance_id', '=', instanceId)
    .execute();
}

/** Ends the key before it. Nothing happens when another control process was faster. */
export async function takeNextKey(tx: Tx, instanceId: string, nextPublicKey: string): Promise<void> {
  await tx
    .updateTable('claviger.enrolled_instance')
    .set({ public_key: nextPublicKey, next_public_key: null })
    .where('instance_id', '=', instanceId)
    .where('next_public_key', '=', nextPublicKey)
    .execute();
}

/** False: there is no such instance. One that is revoked stays as it is. */
export async function revokeEnrolled(tx: Tx, instanceId: string, revokedBy: string): Promise<boolean> {
  const known = await lockEnrolled(tx, instanceId);
  if (known === null) return false;
  await tx
    .updateTable('claviger.enrolled_instance')
    .set({ revoked_at: sql<Date>`now()`, revoked_by: revokedBy })
    .where('instance_id', '=', instanceId)
    .where('revoked_at', 'is', null)
    .execute();
  return true;
}

function selectEnrolled(tx: Tx) {
  return tx
    .selectFrom('claviger.enrolled_instance')
    .select([
      'instance_id',
      'region',
      'role',
      'public_key',
      'next_public_key',
      'sealing_key_sealed',
      'expires_at',
      'revoked_at',
      sql<number>`(extract(epoch from clock_timestamp() - expires_at) * 1000)::float8`.as('expired_for_ms'),
    ]);
}

type EnrolledRow = Awaited<ReturnType<ReturnType<typeof selectEnrolled>['execute']>>[number];

function enrolledFrom(row: EnrolledRow): EnrolledInstance {
  return {
    instanceId: row.instance_id,
    region: row.region,
    role: row.role,
    publicKey: row.public_key,
    nextPublicKey: row.next_public_key,
    sealingKeySealed: row.sealing_key_sealed,
    expiresAtMs: row.expires_at.getTime(),
    expiredForMs: row.expired_for_ms,
    revoked: row.revoked_at !== null,
  };
}

function inMs(ms: number) {
  return sql<Date>`now() + ${ms} * interval '1 millisecond'`;
}
