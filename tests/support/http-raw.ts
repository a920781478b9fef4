import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly httpVersion: string;
  /** As they arrived; names in the case they had. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Without chunk framing. */
  readonly body: Buffer;
  /** False: the connection closed before the answer was complete. */
  readonly complete: boolean;
  header(name: string): string | null;
  text(): string;
}

export interface RawOptions {
  readonly host?: string;
  readonly port: number;
  /** PEM of the authority; makes it TLS. */
  readonly ca?: string;
}

/** A TCP connection on which a test writes what it likes, also what no HTTP library would send. */
export interface RawConnection extends AsyncDisposable {
  readonly socket: Socket;
  /** Writes and waits until the kernel has taken it. */
  write(bytes: Buffer | string): Promise<void>;
  /** Writes piece by piece with a pause between: a client that sends slowly. Ends early when the peer closes. */
  trickle(bytes: Buffer | string, stepBytes: number, pauseMs: number): Promise<void>;
  /** The next answer on this connection; several when requests were pipelined. Fails after `timeoutMs`. */
  answer(timeoutMs?: number): Promise<RawAnswer>;
  /** Resolves when the peer has closed; fails after `timeoutMs`. */
  closed(timeoutMs?: number): Promise<void>;
  /** Everything received that no `answer` has taken. */
  rest(): Buffer;
  destroy(): void;
}

const ANSWER_MS = 10_000;

export function connectRaw({ host = '127.0.0.1', port, ca }: RawOptions): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket =
      ca === undefined ? connectTcp({ host, port }) : connectTls({ host, port, ca, servername: 'localhost' });
    socket.setNoDelay(true);
    socket.once('error', reject);
    socket.once(ca === undefined ? 'connect' : 'secureConnect', () => {
      socket.off('error', reject);
      resolve(rawConnection(socket));
    });
  });
}

/** Writes `bytes` on a new connection and returns the first answer. */
export async function sendRaw(options: RawOptions, bytes: Buffer | string, timeoutMs = ANSWER_MS): Promise<RawAnswer> {
  const connection = await connectRaw(options);
  try {
    await connection.write(bytes);
    return await connection.answer(timeoutMs);
  } finally {
    connection.destroy();
  }
}

/** A well-formed request as text, for tests that then spoil it. */
export function requestText(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body: string | Buffer = '',
): Buffer {
  const bytes = Buffer.from(body);
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: 127.0.0.1'];
  if (bytes.length > 0) lines.push('Content-Type: application/json', `Content-Length: ${bytes.length}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), bytes]);
}

function rawConnection(socket: Socket): RawConnection {
  let received: Buffer = Buffer.alloc(0);
  let ended = false;
  let wake: () => void = () => undefined;
  const end = (): void => {
    ended = true;
    wake();
  };
  socket.on('data', (data: Buffer) => {
    received = Buffer.concat([received, data]);
    wake();
  });
  // A reset is what some tests wait for; it reads as "closed", not as a crash of the test.
  socket.on('error', end);
  socket.on('end', end);
  socket.on('close', end);

  /** Resolves at the next event on the socket, rejects after the deadline. */
  const change = (deadline: number, what: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${what}; received so far: ${JSON.stringify(received.toString('latin1', 0, 400))}`)),
        Math.max(0, deadline - Date.now()),
      );
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const write = (bytes: Buffer | string): Promise<void> =>
    new Promise((resolve) => {
      if (ended) resolve();
      else socket.write(bytes, () => resolve());
    });

  return {
    socket,
    write,
    async trickle(bytes, stepBytes, pauseMs) {
      const all = Buffer.from(bytes);
      for (let from = 0; from < all.length && !ended; from += stepBytes) {
        await write(all.subarray(from, from + stepBytes));
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
    async answer(timeoutMs = ANSWER_MS) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        const parsed = parseAnswer(received, ended);
        if (parsed !== null) {
          received = received.subarray(parsed.bytes);
          return parsed.answer;
        }
        if (ended) {
          const seen = JSON.stringify(received.toString('latin1', 0, 400));
          throw new Error(`the connection closed without an answer; received: ${seen}`);
        }
        await change(deadline, `no complete answer within ${timeoutMs} ms`);
      }
    },
    async closed(timeoutMs = ANSWER_MS) {
      const deadline = Date.now() + timeoutMs;
      while (!ended) await change(deadline, `the connection was not closed within ${timeoutMs} ms`);
    },
    rest: () => received,
    destroy: () => socket.destroy(),
    async [Symbol.asyncDispose]() {
      socket.destroy();
    },
  };
}

/** Null: more bytes are needed. `ended`: none will come, so an answer without its end is returned as incomplete. */
function parseAnswer(bytes: Buffer, ended: boolean): { readonly answer: RawAnswer; readonly bytes: number } | null {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return null;
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
  const match = /^HTTP\/(\d\.\d) (\d{3}) ?(.*)$/.exec(statusLine);
  if (match === null) throw new Error(`not an HTTP answer: ${JSON.stringify(statusLine)}`);
  const headers = lines.map((line): readonly [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const header = (name: string): string | null =>
    headers.find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1] ?? null;
  const status = Number(match[2]);
  const start = headEnd + 4;
  const length = header('content-length');
  const made = (body: Buffer, complete: boolean, end: number) => ({
    answer: {
      status,
      statusText: match[3] ?? '',
      httpVersion: match[1] ?? '',
      headers,
      body,
      complete,
      header,
      text: () => body.toString('utf8'),
    },
    bytes: end,
  });

  if (status === 204 || status === 304 || (status >= 100 && status < 200)) return made(Buffer.alloc(0), true, start);
  if (/chunked/i.test(header('transfer-encoding') ?? '')) {
    const { body, end } = unchunk(bytes, start);
    if (end !== null) return made(body, true, end);
    return ended ? made(body, false, bytes.length) : null;
  }
  if (length !== null) {
    const end = start + Number(length);
    if (bytes.length >= end) return made(bytes.subarray(start, end), true, end);
    return ended ? made(bytes.subarray(start), false, bytes.length) : null;
  }
  return ended ? made(bytes.subarray(start), true, bytes.length) : null;
}

/** `end` null: the last chunk has not arrived. */
function unchunk(bytes: Buffer, start: number): { readonly body: Buffer; readonly end: number | null } {
  const pieces: Buffer[] = [];
  let at = start;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return { body: Buffer.concat(pieces), end: null };
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (Number.isNaN(size))
      throw new Error(`not a chunk size: ${JSON.stringify(bytes.toString('latin1', at, lineEnd))}`);
    at = lineEnd + 2;
    if (size === 0) {
      const end = bytes.indexOf('\r\n', at);
      return { body: Buffer.concat(pieces), end: end < 0 ? null : end + 2 };
    }
    pieces.push(bytes.subarray(at, Math.min(at + size, bytes.length)));
    if (bytes.length < at + size + 2) return { body: Buffer.concat(pieces), end: null };
    at += size + 2;
  }
}
