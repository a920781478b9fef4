/**
 * The upstream server itself; runs in a process of its own, started by `upstream-server.ts`. What it does with a request is
 * said, from the strongest to the weakest, by the header `x-upstream-script` (JSON), the body field `upstream_script`, the
 * model name (`cut-event`, `normal?chunks=3&chunkMs=10`), or the last `script` command of the test.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  type Body,
  errorBody,
  GARBAGE,
  HTML,
  jsonAnswer,
  middleOfCharacter,
  modelList,
  NOT_HTTP,
  sseEvent,
  streamEvents,
} from './upstream-server-answers.ts';
import {
  DEFAULT_UPSTREAM_SCRIPT,
  type FromUpstream,
  type SeenRequest,
  type ToUpstream,
  UPSTREAM_MODES,
  type UpstreamBoot,
  type UpstreamMode,
  type UpstreamScript,
} from './upstream-server-protocol.ts';

type Ledger = { -readonly [K in keyof SeenRequest]: SeenRequest[K] };

/** Bytes of one event of a flood. */
const FLOOD_EVENT_BYTES = 64 * 1024;

const seen: Ledger[] = [];
const connections = new WeakMap<Socket, number>();
let connectionCount = 0;
let requestCount = 0;
let standing: Partial<UpstreamScript> = {};
let server: Server | null = null;
let port = 0;

process.on('message', (message: ToUpstream) => {
  run(message).then(
    (answer) => tell({ id: message.id, ...answer }),
    (error: unknown) => tell({ id: message.id, error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));

async function run(command: ToUpstream): Promise<{ port: number } | { requests: readonly SeenRequest[] }> {
  switch (command.type) {
    case 'boot':
      server = makeServer(command.boot);
      await listen(server);
      return { port };
    case 'script':
      standing = command.script;
      return { port };
    case 'requests':
      return { requests: seen };
    case 'forget':
      seen.length = 0;
      return { port };
    case 'refuse':
      await new Promise<void>((resolve) => {
        server?.close(() => resolve());
        server?.closeAllConnections();
      });
      return { port };
    case 'listen':
      if (server !== null) await listen(server);
      return { port };
  }
}

function makeServer(boot: UpstreamBoot): Server {
  const listener: RequestListener = (req, res) => {
    void answer(req, res);
  };
  const made =
    boot.tls === null
      ? createServer(listener)
      : createTlsServer(
          {
            ...boot.tls,
            ...(boot.clientCa === null ? {} : { ca: boot.clientCa, requestCert: true, rejectUnauthorized: true }),
          },
          listener,
        );
  made.keepAliveTimeout = boot.keepAliveTimeoutMs;
  made.on(boot.tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
    connectionCount += 1;
    connections.set(socket, connectionCount);
  });
  return made;
}

function listen(made: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    made.once('error', reject);
    made.listen(port, '127.0.0.1', () => {
      port = (made.address() as AddressInfo).port;
      resolve();
    });
  });
}

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const receivedAtMs = Date.now();
  const pieces: Buffer[] = [];
  try {
    for await (const piece of req) pieces.push(piece);
  } catch {
    // The peer left in the middle of its request; there is nobody to answer.
    return;
  }
  const bytes = Buffer.concat(pieces);
  const body = parse(bytes);
  const { model, script } = scriptFor(req, body);
  const socket = req.socket as TLSSocket;
  requestCount += 1;
  const entry: Ledger = {
    number: requestCount,
    connection: connections.get(socket) ?? 0,
    method: req.method ?? '',
    path: req.url ?? '',
    headers: pairs(req.rawHeaders),
    bodyBase64: bytes.toString('base64'),
    stream: body.stream === true,
    mode: script.mode,
    clientCertificate: commonName(socket),
    receivedAtMs,
    status: null,
    bytesOffered: 0,
    bytesTaken: 0,
    lastTakenAtMs: null,
    billed: { promptTokens: script.promptTokens, completionTokens: 0 },
    end: 'open',
    endedAtMs: null,
  };
  seen.push(entry);
  res.once('close', () => {
    if (entry.end === 'open') finish(entry, res.writableFinished ? 'complete' : 'peer-closed');
  });
  await new Call(entry, req, res, model, body, script).run();
}

/** One answer on its way. Every wait ends when the peer leaves. */
class Call {
  readonly #entry: Ledger;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #model: string;
  readonly #body: Body;
  readonly #script: UpstreamScript;
  /** Ends the wait that is under way. */
  #wake: () => void = () => undefined;

  constructor(
    entry: Ledger,
    req: IncomingMessage,
    res: ServerResponse,
    model: string,
    body: Body,
    script: UpstreamScript,
  ) {
    this.#entry = entry;
    this.#req = req;
    this.#res = res;
    this.#model = model;
    this.#body = body;
    this.#script = script;
    res.once('close', () => this.#wake());
  }

  async run(): Promise<void> {
    await this.#pause(this.#script.delayMs);
    const { mode, status } = this.#script;
    switch (mode) {
      case 'hang':
        return;
      case 'reset':
        finish(this.#entry, 'cut');
        this.#req.socket.resetAndDestroy();
        return;
      case 'not-http':
        finish(this.#entry, 'cut');
        this.#req.socket.end(NOT_HTTP);
        return;
      case 'garbage':
        return this.#whole(status || 200, this.#entry.stream ? 'text/event-stream' : 'application/json', GARBAGE);
      case 'error':
        return this.#json(status || 500, errorBody(status || 500));
      case 'html':
        return this.#whole(status || 502, 'text/html', Buffer.from(HTML));
      case 'flood':
        return this.#flood();
      default:
        break;
    }
    const path = (this.#req.url ?? '').split('?')[0] ?? '';
    if (this.#req.method === 'GET') return this.#json(200, modelList());
    if (this.#entry.stream && mode !== 'json-for-stream') return this.#stream(path);
    this.#entry.billed = { ...this.#entry.billed, completionTokens: this.#script.completionTokens };
    const answer = jsonAnswer(path, this.#entry.number, this.#model, this.#body, this.#script);
    const echo = { headers: this.#entry.headers, body_base64: this.#entry.bodyBase64 };
    return this.#json(200, mode === 'echo' ? { ...answer, echo } : answer);
  }

  #json(status: number, body: object): Promise<void> {
    return this.#whole(status, 'application/json', Buffer.from(JSON.stringify(body)));
  }

  async #whole(status: number, type: string, body: Buffer): Promise<void> {
    this.#head(status, { 'content-type': type, 'content-length': `${body.length}` });
    if (this.#script.mode === 'cut-event') return this.#cut(body.subarray(0, Math.floor(body.length / 2)));
    await this.#pause(this.#script.firstChunkMs);
    if (this.#script.mode === 'cut-utf8') return this.#cut(body.subarray(0, middleOfCharacter(body)));
    await this.#write(body);
    this.#res.end();
  }

  async #stream(path: string): Promise<void> {
    const { mode, chunkMs, firstChunkMs, chunks, completionTokens } = this.#script;
    this.#head(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    await this.#pause(firstChunkMs);
    const events = streamEvents(path, this.#entry.number, this.#model, this.#body, this.#script);
    for (const [i, event] of events.entries()) {
      if (i > 0) await this.#pause(chunkMs);
      if (this.#gone()) return;
      if (mode === 'cut-event' && i === Math.min(2, chunks)) return this.#cut(event.subarray(0, event.length >> 1));
      if (mode === 'cut-utf8' && i === Math.min(2, chunks - 1))
        return this.#cut(event.subarray(0, middleOfCharacter(event)));
      if (mode === 'error-event' && i === Math.min(2, chunks)) {
        await this.#write(sseEvent(errorBody(500)));
        break;
      }
      await this.#write(event);
      const written = Math.round((completionTokens * Math.min(i + 1, chunks)) / Math.max(chunks, 1));
      this.#entry.billed = { ...this.#entry.billed, completionTokens: written };
    }
    if (mode !== 'no-done') await this.#write(Buffer.from('data: [DONE]\n\n'));
    if (mode !== 'no-end') this.#res.end();
  }

  async #flood(): Promise<void> {
    this.#head(200, { 'content-type': 'text/event-stream' });
    const text = 'x'.repeat(FLOOD_EVENT_BYTES - 200);
    const event = sseEvent({
      id: `chatcmpl-upstream-${this.#entry.number}`,
      object: 'chat.completion.chunk',
      model: this.#model,
      choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
    });
    while (this.#entry.bytesOffered < this.#script.floodBytes && !this.#gone()) {
      this.#offer(event);
      if (this.#res.writableNeedDrain) await this.#until((done) => this.#res.once('drain', done));
    }
    if (this.#gone()) return;
    await this.#write(Buffer.from('data: [DONE]\n\n'));
    this.#res.end();
  }

  #head(status: number, headers: Record<string, string>): void {
    this.#entry.status = status;
    if (this.#gone()) return;
    this.#res.writeHead(status, {
      ...headers,
      'x-request-id': `req_upstream_${this.#entry.number}`,
      ...this.#script.headers,
    });
    this.#res.flushHeaders();
  }

  /** Writes and waits until the kernel has taken it, so that what the ledger says was sent was sent. */
  async #write(bytes: Buffer): Promise<void> {
    const step = this.#script.splitBytes > 0 ? this.#script.splitBytes : bytes.length;
    for (let from = 0; from < bytes.length && !this.#gone(); from += step) {
      const piece = bytes.subarray(from, from + step);
      await this.#until((done) => this.#offer(piece, done));
      if (this.#script.splitBytes > 0) await this.#until((done) => setImmediate(done));
    }
  }

  #offer(bytes: Buffer, taken: () => void = () => undefined): void {
    this.#entry.bytesOffered += bytes.length;
    this.#res.write(bytes, (error) => {
      if (!error) {
        this.#entry.bytesTaken += bytes.length;
        this.#entry.lastTakenAtMs = Date.now();
      }
      taken();
    });
  }

  /** Sends the bytes and closes the connection without the end of the body. */
  async #cut(bytes: Buffer): Promise<void> {
    await this.#write(bytes);
    finish(this.#entry, 'cut');
    this.#req.socket.destroy();
  }

  async #pause(delayMs: number): Promise<void> {
    if (delayMs <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    await this.#until((done) => {
      timer = setTimeout(done, delayMs);
    });
    clearTimeout(timer);
  }

  /** Waits for `done`, or for the peer to leave. */
  #until(start: (done: () => void) => void): Promise<void> {
    if (this.#gone()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
      start(resolve);
    });
  }

  #gone(): boolean {
    return this.#res.closed || this.#res.destroyed || this.#req.socket.destroyed;
  }
}

function finish(entry: Ledger, end: SeenRequest['end']): void {
  entry.end = end;
  entry.endedAtMs = Date.now();
}

function scriptFor(req: IncomingMessage, body: Body): { model: string; script: UpstreamScript } {
  const model = typeof body.model === 'string' ? body.model : 'upstream-model';
  const mark = model.indexOf('?');
  const name = mark < 0 ? model : model.slice(0, mark);
  const named = UPSTREAM_MODES.find((mode) => mode === name);
  const script: { -readonly [K in keyof UpstreamScript]: UpstreamScript[K] } = {
    ...DEFAULT_UPSTREAM_SCRIPT,
    ...standing,
  };
  if (named !== undefined) script.mode = named;
  if (mark >= 0) {
    for (const [key, value] of new URLSearchParams(model.slice(mark + 1))) {
      if (key === 'mode') script.mode = value as UpstreamMode;
      else if (key === 'usage') script.usage = value === 'true';
      else Object.assign(script, { [key]: Number(value) });
    }
  }
  if (typeof body.upstream_script === 'object') Object.assign(script, body.upstream_script);
  const header = req.headers['x-upstream-script'];
  if (typeof header === 'string') Object.assign(script, JSON.parse(header));
  return { model, script };
}

/** Null: no TLS, or no certificate was shown. */
function commonName(socket: TLSSocket): string | null {
  const name = socket.getPeerCertificate?.()?.subject?.CN;
  return typeof name === 'string' ? name : null;
}

function parse(bytes: Buffer): Body {
  try {
    const body: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Body) : {};
  } catch {
    return {};
  }
}

function pairs(raw: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] ?? '', raw[i + 1] ?? '']);
  return list;
}

function tell(message: FromUpstream): void {
  process.send?.(message);
}
