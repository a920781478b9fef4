import { ClavigerError } from '../../domain/error-catalogue.ts';
import { type Caller, seesEverything } from '../auth/caller.ts';

/** Whether this is the user that the key of the caller belongs to. */
export function isOwnRecord(caller: Caller, userId: string | null): boolean {
  return caller.userId !== null && caller.userId === userId;
}

/** Throws 403 when a caller asks for a user that is neither itself nor its to see. */
export function maySeeUser(caller: Caller, userId: string | null): void {
  if (seesEverything(caller) || isOwnRecord(caller, userId)) return;
  throw new ClavigerError('not_your_object', { action: 'view this user' });
}
