import type { Change } from '../../domain/change.ts';
import { principalFromKey } from '../../domain/principal-from-key.ts';
import type { JsonValue, KeyDigest, VirtualKey } from '../../domain/virtual-key.ts';
import type { LoggedChange } from '../../storage/repositories/change-log.ts';

/** An entry of the change log as the feed carries it: what a gateway process needs of it, and no secret. */
export function changeFromLog({ rev, objectId, after }: LoggedChange): Change {
  return {
    rev,
    kind: 'key',
    id: objectId,
    value: after === null ? null : principalFromKey(keyFromJson(after, objectId)),
  };
}

/** `after` is a whole key as this program or an older version wrote it. */
function keyFromJson(after: JsonValue, token: string): VirtualKey {
  return { ...(after as unknown as VirtualKey), token: token as KeyDigest };
}
