import { isBefore } from '../../feed/codec.ts';
import type { Registry, RegistryEntry } from './registry.ts';

/** The answer of a management call waits this long for the gateway processes of the instance, and not longer. */
export const AWAIT_APPLIED_MAX_MS = 250;

export interface AppliedTarget {
  readonly epoch: number;
  readonly rev: number;
  /** Gateway processes that the instance has. One that is just connecting is waited for too: it gets the revision by catching up. */
  readonly gatewayCount: number;
}

/** Resolves when every gateway process of the instance has confirmed the revision, or the time is up. True when all have. */
export function awaitApplied(
  registry: Registry,
  target: AppliedTarget,
  timeoutMs = AWAIT_APPLIED_MAX_MS,
): Promise<boolean> {
  const has = ({ acked }: RegistryEntry): boolean => acked !== null && !isBefore(acked, target);
  const applied = (): boolean => {
    const entries = [...registry.entries()];
    return entries.length >= target.gatewayCount && entries.every(has);
  };
  if (applied()) return Promise.resolve(true);

  return new Promise((resolve) => {
    const end = (result: boolean) => {
      clearTimeout(timer);
      stop();
      resolve(result);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    const stop = registry.onChange(() => {
      if (applied()) end(true);
    });
  });
}
