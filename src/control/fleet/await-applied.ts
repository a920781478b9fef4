import { isBefore } from '../../feed/codec.ts';
import type { Registry, RegistryEntry } from './registry.ts';

/** The answer of a management call waits this long for the gateway processes of the instance, and not longer. */
export const AWAIT_APPLIED_MAX_MS = 250;

/**
 * Resolves when every gateway process that is live now has confirmed the revision, or is gone, or the time is up. True when
 * all have.
 */
export function awaitApplied(
  registry: Registry,
  target: { readonly epoch: number; readonly rev: number },
  timeoutMs = AWAIT_APPLIED_MAX_MS,
): Promise<boolean> {
  const waitingFor = new Set<RegistryEntry>();
  for (const entry of registry.entries()) if (entry.connection.live) waitingFor.add(entry);

  const applied = (): boolean => {
    const present = new Set(registry.entries());
    for (const entry of waitingFor) {
      const isBehind = entry.acked === null || isBefore(entry.acked, target);
      if (!isBehind || !present.has(entry)) waitingFor.delete(entry);
    }
    return waitingFor.size === 0;
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
