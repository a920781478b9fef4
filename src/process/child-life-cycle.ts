import cluster from 'node:cluster';
import { randomInt } from 'node:crypto';
import type { MetricFamily } from '../observe/metrics.ts';
import type { Boot, ToChild, ToSupervisor } from './messages.ts';

/** What runs inside a child of the supervisor. */
export interface ChildService {
  /**
   * Gives notice, stops listening and finishes what is open, bounded by `settings.drainTimeoutMs`; the process exits when it resolves.
   */
  drain(noticeMs: number): Promise<void>;
  /** Reads `config.yaml` again; logs and keeps the old configuration when it is wrong. */
  reload(): void | Promise<void>;
  collectMetrics(): readonly MetricFamily[];
}

export interface ChildContext {
  readonly boot: Boot;
  /** Metrics of all processes of the instance as exposition text. Rejects after `ASK_METRICS_TIMEOUT_MS`. */
  readonly askMetrics: () => Promise<string>;
}

/** The supervisor answers within one second, with what it has by then; this is for a supervisor that is stuck. */
export const ASK_METRICS_TIMEOUT_MS = 3_000;

/** A `start` that fails with this is not tried again with the same settings; any other error is retried with back-off. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun';
}

/**
 * The life of a child: say `hello`, wait for `Boot`, start, say `ready` (or `fatal` with a sentence), serve, and at `drain` or when the
 * supervisor is gone finish and exit.
 *
 * An interrupt from the terminal and the SIGTERM of a service manager reach all processes of the group. The children leave
 * them to the supervisor, which ends everything in order: gateway processes, then the control process, then PostgreSQL.
 */
export function runChild(start: (context: ChildContext) => Promise<ChildService>): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  // Without this a cluster worker exits the moment the supervisor dies, in the middle of its open streams.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;

  const questions = new Map<number, (text: string) => void>();
  let service: ChildService | null = null;
  let booting = false;
  let draining = false;

  const drain = (noticeMs: number): void => {
    if (draining) return;
    draining = true;
    if (service === null) process.exit(0);
    service.drain(noticeMs).then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };

  const boot = (message: Boot): void => {
    if (booting) return;
    booting = true;
    start({ boot: message, askMetrics: () => askMetrics(questions) }).then(
      (started) => {
        service = started;
        if (!draining) send({ type: 'ready' });
      },
      (error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        const fatal: ToSupervisor = { type: 'fatal', message: text, retry: !(error instanceof CannotRun) };
        if (!process.connected) process.exit(1);
        process.send?.(fatal, () => process.exit(1));
      },
    );
  };

  process.on('message', (message: ToChild) => {
    switch (message.type) {
      case 'boot':
        return boot(message);
      case 'drain':
        return drain(message.noticeMs);
      case 'reload':
        return void service?.reload();
      case 'collect-metrics':
        return send({ type: 'collected-metrics', id: message.id, families: service?.collectMetrics() ?? [] });
      case 'metrics':
        return questions.get(message.id)?.(message.text);
    }
  });
  // The supervisor is gone, and its listening socket with it.
  process.once('disconnect', () => drain(0));
  send({ type: 'hello' });
}

function askMetrics(questions: Map<number, (text: string) => void>): Promise<string> {
  return new Promise((resolve, reject) => {
    const id = randomInt(2 ** 47);
    const timer = setTimeout(() => {
      questions.delete(id);
      reject(new Error(`the supervisor did not answer within ${ASK_METRICS_TIMEOUT_MS} ms`));
    }, ASK_METRICS_TIMEOUT_MS);
    questions.set(id, (text) => {
      clearTimeout(timer);
      questions.delete(id);
      resolve(text);
    });
    send({ type: 'ask-metrics', id });
  });
}

/** Messages to a supervisor that died are dropped: `disconnect` follows. */
function send(message: ToSupervisor): void {
  if (process.connected) process.send?.(message, () => {});
}
