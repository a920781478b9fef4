import type { ChildProcess } from 'node:child_process';

/**
 * Node's `cluster` passes a connection to a worker and waits for its answer. When the worker dies first, the connection stays
 * open in this process and belongs to nobody: the client would wait for ever. So what is under way is remembered here and
 * closed when the worker is gone; the client sees a reset connection and can try again. The same for a connection that a
 * worker gives back because it has stopped listening, when `isEnding` says that no other worker will take it.
 *
 * This reads the messages that `cluster` sends for itself. Should a version of Node change them, nothing is remembered, and
 * all is as without it; a test tells.
 */
export function closeUndelivered(worker: ChildProcess, isEnding: () => boolean): void {
  const underWay = new Map<number, Closable>();
  const send = worker.send.bind(worker) as (...args: unknown[]) => boolean;
  const spy = (...args: unknown[]): boolean => {
    const [message, handle] = args as [ClusterMessage, Closable | undefined];
    if (message.act === 'newconn' && handle !== undefined && message.seq !== undefined)
      underWay.set(message.seq, handle);
    return send(...args);
  };
  worker.send = spy as ChildProcess['send'];
  worker.on('internalMessage', ({ accepted, ack }: ClusterMessage) => {
    if (ack === undefined) return;
    const handle = underWay.get(ack);
    underWay.delete(ack);
    if (accepted === false && isEnding()) handle?.close();
  });
  worker.once('exit', () => {
    for (const handle of underWay.values()) handle.close();
    underWay.clear();
  });
}

interface ClusterMessage {
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly accepted?: boolean;
}

interface Closable {
  close(): void;
}
