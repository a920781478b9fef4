import { maskKey } from '../../domain/generated-key.ts';
import type { SealedSecret } from '../../domain/sealed-secret.ts';
import { fingerprint, seal } from '../../util/sealed-value.ts';

/** A secret as database and change log hold it. `context` is the place that it is bound to. */
export function sealSecret(plain: string, sealingKey: string, context: string): SealedSecret {
  return {
    $sealed: seal(plain, sealingKey, context),
    fingerprint: fingerprint(plain, sealingKey),
    shown: maskKey(plain),
  };
}
