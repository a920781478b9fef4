import { z } from 'zod';
import { text } from './lax.ts';

export const JOIN_TOKEN_TTL_MAX_MS = 10 * 60_000;

/** As `CLAVIGER_REGION` is checked. */
const region = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be the name of a region: 1 to 63 letters, digits, dots, dashes and underscores',
  );

export const joinTokenBody = z.object({
  region: region.describe('The region of the worker that joins with it.'),
  role: z.literal('worker').nullish().describe('What it joins as; there is only this.'),
  ttl: text.nullish().describe('How long it can be used, for example 5m; at most and by default 10m.'),
});

export const joinToken = z.object({
  token: z.string().describe('Shown only here; the database keeps its hash.'),
  region: z.string(),
  role: z.string(),
  expires_at: z.string(),
});

export const enrolledQuery = z.object({ id: text.describe('Id of the instance.') });

export const revokedWorker = z.object({ worker: z.string(), revoked: z.literal(true) });
