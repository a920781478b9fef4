import { revokeWorkerRoute } from '../../../contract/routes/join.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { revokeEnrolled } from '../../../storage/repositories/enrolment.ts';
import { endpoint } from '../handler.ts';

export const revokeWorkerEndpoint = endpoint(revokeWorkerRoute, async ({ query: { id }, caller }, { db, enrolled }) => {
  const isEnrolled = await db.write((tx) => revokeEnrolled(tx, id, caller.userId ?? caller.token));
  if (!isEnrolled) throw new ClavigerError('object_not_found', { what: `Joined worker ${id.slice(0, 100)}` });
  // It is in force here before the answer.
  await enrolled.reload([id]);
  return { json: { worker: id, revoked: true } };
});
