import type { Revision } from '../../domain/change.ts';
import { uuidV7 } from '../../util/uuid-v7.ts';
import type { Caller } from '../auth/caller.ts';
import { appendChange, type Origin } from '../config/append-change.ts';
import { publish } from '../config/publish.ts';
import type { ControlContext } from '../context.ts';
import { resetRulesOf } from '../handlers/key/store-key.ts';
import type { Moment } from './apply-object-fields.ts';
import type { Writing } from './change-object.ts';

/** Runs `work` in one transaction and hands what it changed to the gateway processes. `rev` undefined: nothing was changed. */
export async function writeObjects<T>(
  context: ControlContext,
  origin: Origin,
  work: (write: Writing) => Promise<T>,
): Promise<{ readonly value: T; readonly rev: Revision | undefined }> {
  const { db, settings } = context;
  const { value, stretch } = await appendChange(db, origin, (tx, changed) =>
    work({ tx, changed, sealingKey: settings.sealingKey }),
  );
  if (stretch !== null) await publish(stretch, context);
  return { value, rev: stretch?.to };
}

export function momentOf(context: ControlContext, caller: Caller): Moment {
  const nowMs = context.clock.nowMs();
  const newId = () => uuidV7(nowMs, context.randomBytes);
  return { nowMs, resets: resetRulesOf(context), by: caller.userId, newId };
}
