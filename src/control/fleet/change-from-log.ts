import { isAccountKind } from '../../domain/account.ts';
import { accountInFeed } from '../../domain/account-in-feed.ts';
import type { Change } from '../../domain/change.ts';
import { principalFromKey } from '../../domain/principal-from-key.ts';
import { type ModelRecord, storedModelFrom } from '../../domain/stored-model.ts';
import type { JsonObject, JsonValue, KeyDigest, VirtualKey } from '../../domain/virtual-key.ts';
import type { LoggedChange } from '../../storage/repositories/change-log.ts';

/**
 * An entry of the change log as the feed carries it: what a gateway process needs of it, and no secret in clear. Null: nothing that gateway
 * processes have to know, for example what a newer version of the program wrote; the revision counts all the same.
 */
export function changeFromLog({ rev, kind, objectId, after }: Omit<LoggedChange, 'head'>): Change | null {
  switch (kind) {
    case 'key':
      return { rev, kind, id: objectId, value: after === null ? null : principalFromKey(keyFromJson(after, objectId)) };
    case 'model':
      return {
        rev,
        kind,
        id: objectId,
        value: after === null ? null : storedModelFrom(modelFromJson(after, objectId)),
      };
    case 'setting':
      return { rev, kind, id: objectId, value: after };
    default:
      if (!isAccountKind(kind)) return null;
      return { rev, kind, id: objectId, value: after === null ? null : accountInFeed(kind, after as JsonObject) };
  }
}

export function changesFromLog(logged: readonly Omit<LoggedChange, 'head'>[]): Change[] {
  return logged.map(changeFromLog).filter((change) => change !== null);
}

/** `after` is a whole key as this program or an older version wrote it. */
function keyFromJson(after: JsonValue, token: string): VirtualKey {
  return { ...(after as unknown as VirtualKey), token: token as KeyDigest };
}

function modelFromJson(after: JsonValue, model_id: string): ModelRecord {
  return { ...(after as unknown as ModelRecord), model_id };
}
