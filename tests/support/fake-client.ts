import { type IncomingMessage, request as requestHttp } from 'node:http';

/** A client that behaves badly on purpose: reads slowly, or leaves at a chosen moment. */
export interface StreamingCall extends AsyncDisposable {
  /** Head of the answer. Fails when the connection breaks before it. */
  readonly head: Promise<{ readonly status: number; readonly headers: IncomingMessage['headers'] }>;
  /** Resolves at the end of the answer, or when the connection broke or was left. */
  readonly end: Promise<'complete' | 'broken' | 'left'>;
  /** Bytes of the body that were read so far. */
  bytesRead(): number;
  /** What was read so far; empty when `keep` is false. */
  text(): string;
  /** Resolves when at least `count` bytes of the body were read. */
  read(count: number): Promise<void>;
  /** Closes the connection now, whatever is under way. */
  leave(): void;
}

export interface StreamingCallOptions {
  /** Base of the gateway, e.g. `http://127.0.0.1:4000`. */
  readonly url: string;
  readonly key: string;
  readonly body: object;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Reads no more than this; absent: as fast as it comes. */
  readonly bytesPerSecond?: number;
  /** False: counts and forgets, for answers that are too long to keep. */
  readonly keep?: boolean;
}

/** How often a slow reader takes its share. */
const SLOW_READ_MS = 20;

export function startCall(options: StreamingCallOptions): StreamingCall {
  const { url, key, body, path = '/v1/chat/completions', headers = {}, bytesPerSecond, keep = true } = options;
  const bytes = Buffer.from(JSON.stringify(body));
  const pieces: Buffer[] = [];
  const waiters: { count: number; resolve: () => void }[] = [];
  let read = 0;
  let left = false;

  const request = requestHttp(new URL(path, url), {
    method: 'POST',
    agent: false,
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'content-length': bytes.length,
      ...headers,
    },
  });
  const take = (piece: Buffer): void => {
    read += piece.length;
    if (keep) pieces.push(piece);
    for (const waiter of waiters.filter(({ count }) => count <= read)) {
      waiters.splice(waiters.indexOf(waiter), 1);
      waiter.resolve();
    }
  };
  const head = new Promise<{ status: number; headers: IncomingMessage['headers'] }>((resolve, reject) => {
    request.once('error', reject);
    request.once('response', (answer) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers }));
  });
  // Not every test looks at the head; a broken connection is also told by `end`.
  head.catch(() => undefined);
  const end = new Promise<'complete' | 'broken' | 'left'>((resolve) => {
    const broken = (): void => resolve(left ? 'left' : 'broken');
    request.once('error', broken);
    request.once('response', (answer) => {
      answer.on('error', broken);
      answer.once('close', () => (answer.complete ? resolve('complete') : broken()));
      if (bytesPerSecond === undefined) answer.on('data', take);
      else readSlowly(answer, bytesPerSecond, take);
    });
  });
  request.end(bytes);
  const leave = (): void => {
    left = true;
    request.destroy();
  };
  return {
    head,
    end,
    bytesRead: () => read,
    text: () => Buffer.concat(pieces).toString('utf8'),
    read: (count) => (count <= read ? Promise.resolve() : new Promise((resolve) => waiters.push({ count, resolve }))),
    leave,
    async [Symbol.asyncDispose]() {
      leave();
    },
  };
}

/** Takes a share every few milliseconds; what is not taken stays in the socket, so the sender feels it. */
function readSlowly(answer: IncomingMessage, bytesPerSecond: number, take: (piece: Buffer) => void): void {
  const share = Math.max(1, Math.floor((bytesPerSecond * SLOW_READ_MS) / 1000));
  answer.pause();
  const timer = setInterval(() => {
    const available = Math.min(share, answer.readableLength);
    // `read(0)` asks the socket for more without taking anything.
    const piece: unknown = answer.read(available);
    if (Buffer.isBuffer(piece)) take(piece);
  }, SLOW_READ_MS);
  answer.once('close', () => clearInterval(timer));
  answer.once('end', () => clearInterval(timer));
}
