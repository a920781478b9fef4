import { joinTokenRoute } from '../../../contract/routes/join.ts';
import { JOIN_TOKEN_TTL_MAX_MS } from '../../../contract/schemas/join.ts';
import { addDuration, parseDuration } from '../../../domain/duration.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { insertJoinToken } from '../../../storage/repositories/enrolment.ts';
import { joinTokenHash, makeJoinToken } from '../../fleet/join/join-token.ts';
import { endpoint } from '../handler.ts';

export const makeJoinTokenEndpoint = endpoint(joinTokenRoute, async ({ body, caller }, { db, log }) => {
  const token = makeJoinToken();
  const role = body.role ?? 'worker';
  const { region } = body;
  const expiresAt = await db.write((tx) =>
    insertJoinToken(tx, {
      tokenHash: joinTokenHash(token),
      region,
      role,
      ttlMs: ttlMs(body.ttl ?? null),
      createdBy: caller.userId ?? caller.token,
    }),
  );
  log.info({ region, role, expiresAt: expiresAt.toISOString() }, 'a join token was made');
  return { json: { token, region, role, expires_at: expiresAt.toISOString() } };
});

function ttlMs(text: string | null): number {
  if (text === null) return JOIN_TOKEN_TTL_MAX_MS;
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new ClavigerError('invalid_duration', { field: 'ttl', value: text });
  const milliseconds = parsed.duration.unit === 'mo' ? Number.POSITIVE_INFINITY : addDuration(0, parsed.duration);
  if (milliseconds > 0 && milliseconds <= JOIN_TOKEN_TTL_MAX_MS) return milliseconds;
  throw new ClavigerError('bad_request', { reason: `ttl must be more than 0 and at most 10m, not ${text}` });
}
