import type { UsageIntent, UsageSettlement } from '../../domain/usage.ts';

/** Called back by the usage log; an object and not a closure, because there is one per request. */
export interface UsageWaiter {
  /** The INTENT frame is in the file (`write` returned): the call may be dispatched. */
  onIntentWritten(): void;
  /** The log can not take it (disk full, I/O error): the call must not be dispatched. */
  onIntentRefused(error: Error): void;
  /** The SETTLE frame is in the file: the last byte may go to the client. Also called when writing failed (logged). */
  onSettled(): void;
}

/** What the request path sees of the usage log. */
export interface UsageSink {
  /** All intents of one event-loop turn share one `write`, made in `setImmediate`; then the waiters run. */
  intent(intent: UsageIntent, waiter: UsageWaiter): void;
  /** At most once per intent; a second settlement of the same request id is a bug and throws. */
  settle(settlement: UsageSettlement, waiter: UsageWaiter): void;
}
