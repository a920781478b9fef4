import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import { enrolledQuery, joinToken, joinTokenBody, revokedWorker } from '../schemas/join.ts';

const tag = 'fleet';

export const joinTokenRoute = defineRoute({
  method: 'POST',
  path: '/fleet/join-token',
  operationId: 'make_join_token',
  tag,
  summary: 'Make a token that lets one worker join, once',
  description:
    'For a worker without a credential of the database: `CONTROL_PLANE_URL` and `CLAVIGER_JOIN_TOKEN` at its first start. It joins the region ' +
    'of the token.',
  access: 'proxy admin',
  query: z.object({}),
  body: joinTokenBody,
  response: joinToken,
  errors: { 400: '`ttl` can not be read or is longer than 10 minutes.' },
});

export const revokeWorkerRoute = defineRoute({
  method: 'POST',
  path: '/fleet/workers/{id}/revoke',
  operationId: 'revoke_worker',
  tag,
  summary: 'Take the credential of a joined worker away',
  description:
    'Its requests are refused from now on, and within a second on other admins. It serves on from what it knows, up to the fence; to end that ' +
    'as well, stop it. Keys that it knew in clear (of providers, in models of its region) are to be changed there.',
  access: 'proxy admin',
  query: enrolledQuery,
  body: null,
  response: revokedWorker,
  errors: { 404: 'No worker of this id has joined.' },
});
