import type { ChildProcess } from 'node:child_process';

/**
 * Node's `cluster` passes a connection to a worker and waits for its answer. When the worker dies first, the connection stays
 * open in this process and belongs to nobody: the client would wait for ever. So what is under way is remembered here. When
 * the worker is gone, another one gets it; when no other listens it is closed, and the client sees a reset connection and can
 * try again. The same for a connection that a worker gives back because it has stopped listening.
 *
 * This reads and answers messages that `cluster` has for itself. Should a version of Node change them, nothing is remembered,
 * and all is as without it; a test tells.
 */
export function rescueUndelivered(worker: ChildProcess, othersListen: () => boolean): void {
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
    if (accepted === false && !othersListen()) handle?.close();
  });
  let disconnected = false;
  worker.once('disconnect', () => {
    disconnected = true;
  });
  // `close` comes after the last answer was read; `exit` may come before, and what was accepted may have been read from.
  worker.once('close', () => {
    // Node does not say this while a passed connection is unacknowledged, and `cluster` goes on choosing the dead worker.
    if (!disconnected) worker.emit('disconnect');
    for (const [ack, handle] of [...underWay]) {
      // The answer "not accepted" makes `cluster` look for another worker.
      if (othersListen())
        worker.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack, accepted: false } satisfies ClusterMessage);
      else handle.close();
    }
    underWay.clear();
  });
}

interface ClusterMessage {
  readonly cmd?: string;
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly accepted?: boolean;
}

interface Closable {
  close(): void;
}
