import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * What the network between two processes does. `pass` is a good network, with `latencyMs` in each direction. `blackhole` takes bytes and
 * delivers none, on old and new connections. `reset` ends every connection at once. `half-open` delivers what goes to the target and
 * nothing that comes back. `drip` delivers one byte per `dripIntervalMs` in each direction. `refuse` is `reset` without a listener.
 */
export type Weather =
  | { readonly kind: 'pass'; readonly latencyMs?: number }
  | { readonly kind: 'blackhole' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'half-open' }
  | { readonly kind: 'drip'; readonly dripIntervalMs: number }
  | { readonly kind: 'refuse' };

/** Where the proxy connects to: a port, on 127.0.0.1 unless another host is named, or the path of a unix socket. */
export type Target = { readonly port: number; readonly host?: string } | { readonly path: string };

/** A TCP proxy on 127.0.0.1 whose network can be changed at any time, for connections that are open too. */
export class ChaosProxy {
  readonly port: number;
  readonly #target: Target;
  #server: Server;
  #weather: Weather = { kind: 'pass' };
  readonly #links = new Set<Link>();
  #sent = 0;
  #turns = 0;

  static async start(target: Target): Promise<ChaosProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ChaosProxy(target, server);
  }

  private constructor(target: Target, server: Server) {
    this.#target = target;
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#accept(socket));
  }

  get connections(): number {
    return this.#links.size;
  }

  /** Messages that went to the target, of all connections; several that were written at once count once. */
  get sent(): number {
    return this.#sent;
  }

  /** How often something was sent that waited for an answer: messages behind the last bytes that came back, on one connection, count once. */
  get turns(): number {
    return this.#turns;
  }

  async set(weather: Weather): Promise<void> {
    const refused = this.#weather.kind === 'refuse';
    this.#weather = weather;
    if (weather.kind === 'reset' || weather.kind === 'refuse') for (const link of [...this.#links]) link.reset();
    if (weather.kind === 'refuse' && !refused) await this.#stopListening();
    if (weather.kind !== 'refuse' && refused) await this.#listenAgain();
    for (const link of this.#links) link.weather = weather;
  }

  async close(): Promise<void> {
    for (const link of [...this.#links]) link.reset();
    if (this.#server.listening) await this.#stopListening();
  }

  #accept(near: Socket): void {
    if (this.#weather.kind === 'reset') {
      near.resetAndDestroy();
      return;
    }
    const far =
      'path' in this.#target
        ? connect(this.#target.path)
        : connect(this.#target.port, this.#target.host ?? '127.0.0.1');
    const link = new Link(near, far, this.#weather);
    this.#links.add(link);
    link.onEnd = () => this.#links.delete(link);
    let answered = true;
    link.onDelivered = (isThere) => {
      if (isThere) {
        this.#sent += 1;
        if (answered) this.#turns += 1;
      }
      answered = !isThere;
    };
  }

  async #stopListening(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  async #listenAgain(): Promise<void> {
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }
}

/** One proxied connection: two directions, each a queue of what has not been delivered. */
class Link {
  onEnd: () => void = () => {};
  /** Bytes were handed on, to the target or back. */
  onDelivered: (isThere: boolean) => void = () => {};
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #there: Direction;
  readonly #back: Direction;
  #ended = false;

  constructor(near: Socket, far: Socket, weather: Weather) {
    this.#near = near;
    this.#far = far;
    this.#there = new Direction(near, far, true, weather, () => this.onDelivered(true));
    this.#back = new Direction(far, near, false, weather, () => this.onDelivered(false));
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => this.reset());
      socket.on('close', () => this.#closed());
    }
  }

  set weather(weather: Weather) {
    this.#there.weather = weather;
    this.#back.weather = weather;
  }

  reset(): void {
    // Unix sockets know no reset.
    for (const socket of [this.#near, this.#far]) {
      if (socket.remoteAddress === undefined) socket.destroy();
      else if (!socket.destroyed) socket.resetAndDestroy();
    }
    this.#closed();
  }

  /** A black hole also swallows the news that one side has closed. */
  #closed(): void {
    if (this.#ended || !(this.#near.destroyed && this.#far.destroyed)) {
      if (!this.#ended && this.#there.delivers && this.#back.delivers) {
        this.#near.destroy();
        this.#far.destroy();
      }
      return;
    }
    this.#ended = true;
    this.#there.stop();
    this.#back.stop();
    this.onEnd();
  }
}

interface Parcel {
  readonly bytes: Buffer | null;
  readonly dueAtMs: number;
}

/** Bytes from one side to the other; `null` bytes are the end of the stream. */
class Direction {
  readonly #to: Socket;
  readonly #isThere: boolean;
  readonly #queue: Parcel[] = [];
  readonly #onDelivered: () => void;
  #weather: Weather;
  #timer: NodeJS.Timeout | null = null;

  constructor(from: Socket, to: Socket, isThere: boolean, weather: Weather, onDelivered: () => void) {
    this.#to = to;
    this.#isThere = isThere;
    this.#onDelivered = onDelivered;
    this.#weather = weather;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('end', () => this.#take(null));
  }

  get delivers(): boolean {
    return this.#weather.kind === 'pass' || this.#weather.kind === 'drip';
  }

  set weather(weather: Weather) {
    this.#weather = weather;
    this.#deliver();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#queue.length = 0;
  }

  #take(bytes: Buffer | null): void {
    const latencyMs = this.#weather.kind === 'pass' ? (this.#weather.latencyMs ?? 0) : 0;
    this.#queue.push({ bytes, dueAtMs: performance.now() + latencyMs });
    this.#deliver();
  }

  #deliver(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (;;) {
      const weather = this.#weather;
      const parcel = this.#queue[0];
      const isHeld =
        weather.kind === 'blackhole' || weather.kind === 'refuse' || (weather.kind === 'half-open' && !this.#isThere);
      if (parcel === undefined || isHeld) return;
      const waitMs = parcel.dueAtMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#deliver(), waitMs);
        return;
      }
      if (weather.kind === 'drip' && parcel.bytes !== null && parcel.bytes.length > 1) {
        this.#write(parcel.bytes.subarray(0, 1));
        this.#queue[0] = { bytes: parcel.bytes.subarray(1), dueAtMs: performance.now() + weather.dripIntervalMs };
        continue;
      }
      this.#queue.shift();
      this.#write(parcel.bytes);
    }
  }

  #write(bytes: Buffer | null): void {
    if (this.#to.destroyed) return;
    if (bytes === null) {
      this.#to.end();
      return;
    }
    this.#to.write(bytes);
    this.#onDelivered();
  }
}
