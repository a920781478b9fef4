import { readdirSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '../../../observe/log.ts';
import { assertSocketPathFits, listenOnSocket } from '../../../util/unix-socket.ts';
import type { InstancePeers } from './instance-peers.ts';
import { type PeerAnswer, type PeerMessage, parseLine } from './peer-message.ts';

/** How long a process that starts waits for what the others hand over; then it serves all the same. */
export const JOIN_WAIT_MS = 1_000;
/** A connection to a process that is there is made again after so long. */
const RECONNECT_MS = 100;
/** What a process that does not read is not told beyond this. What it should have been given back then stays counted. */
const UNREAD_BYTES_MAX = 4 * 1024 * 1024;
/** A line that is longer does not come from one of ours. */
const LINE_CHARS_MAX = 8 * 1024 * 1024;
const NAME = /^limits-(\d{1,6})\.sock$/;

export function limitsSocket(directory: string, slot: number): string {
  return join(directory, `limits-${slot}.sock`);
}

export interface PeerSocketsOptions {
  /** 0700 directory of the instance's sockets. */
  readonly directory: string;
  readonly slot: number;
  readonly peers: InstancePeers;
  readonly log: Log;
}

interface Incoming {
  readonly id: number;
  readonly socket: Socket;
  slot: number | null;
}

/**
 * The connections between the gateway processes of an instance: each listens, and connects to all that listen. Whoever starts finds the
 * others in the directory; they connect back when it says hello. A closed connection is a process that is gone.
 */
export class PeerSockets {
  readonly #options: PeerSocketsOptions;
  readonly #server: Server;
  readonly #outgoing = new Map<number, Socket>();
  readonly #incoming = new Map<number, Incoming>();
  readonly #sockets = new Set<Socket>();
  #nextId = 1;
  #closed = false;

  constructor(options: PeerSocketsOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Resolves when everything that is owned here has been handed over, at the latest after `JOIN_WAIT_MS`. */
  async start(): Promise<void> {
    const { directory, slot, peers } = this.#options;
    const path = limitsSocket(directory, slot);
    assertSocketPathFits(path);
    await listenOnSocket(this.#server, path);
    this.#server.unref();
    const others = slotsIn(directory).filter((other) => other !== slot);
    peers.await(others);
    for (const other of others) this.#connect(other);
    const deadlineMs = performance.now() + JOIN_WAIT_MS;
    while (!peers.settled && performance.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 2));
    for (const other of others) peers.doNotAwait(other);
  }

  /** Says what has to be said, and leaves. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#options.peers.replicate();
    await Promise.all(
      [...this.#outgoing.values()].map(
        (socket) =>
          new Promise<void>((resolve) => {
            socket.once('close', () => resolve());
            setTimeout(() => socket.destroy(), RECONNECT_MS).unref();
            setImmediate(() => socket.end());
          }),
      ),
    );
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #connect(slot: number): void {
    const { directory, peers, log } = this.#options;
    if (this.#closed || this.#outgoing.has(slot)) return;
    const socket = connect(limitsSocket(directory, slot));
    this.#outgoing.set(slot, socket);
    this.#keep(socket);
    const send = lineWriter(socket);
    socket.once('connect', () => peers.peerUp(slot, send));
    eachLine(socket, (message) => {
      if (message[0] === 'loan') peers.answered(slot, message);
    });
    socket.once('close', () => {
      if (this.#outgoing.get(slot) !== socket) return;
      this.#outgoing.delete(slot);
      peers.linkDown(slot);
      if (!this.#incoming.has(slot)) peers.peerGone(slot);
      else if (!this.#closed) {
        log.debug({ slot }, 'The connection to another gateway process was cut; it is made again');
        setTimeout(() => this.#incoming.has(slot) && this.#connect(slot), RECONNECT_MS).unref();
      }
    });
  }

  #accept(socket: Socket): void {
    const { peers } = this.#options;
    this.#keep(socket);
    const incoming: Incoming = { id: this.#nextId++, socket, slot: null };
    const answer = lineWriter(socket);
    eachLine(socket, (message) => {
      if (message[0] === 'loan') return;
      if (message[0] === 'hello') this.#greet(incoming, message[1]);
      if (incoming.slot !== null) peers.receive(incoming.id, incoming.slot, message, answer);
    });
    socket.once('close', () => {
      peers.borrowerGone(incoming.id);
      const { slot } = incoming;
      if (slot === null || this.#incoming.get(slot) !== incoming) return;
      this.#incoming.delete(slot);
      this.#outgoing.get(slot)?.destroy();
      this.#outgoing.delete(slot);
      peers.peerGone(slot);
    });
  }

  #greet(incoming: Incoming, slot: number): void {
    const { peers } = this.#options;
    const before = this.#incoming.get(slot);
    if (before !== undefined && before !== incoming) {
      // The slot has a new process, and the end of the old one has not been read yet.
      this.#incoming.delete(slot);
      peers.borrowerGone(before.id);
      before.socket.destroy();
      this.#outgoing.get(slot)?.destroy();
      this.#outgoing.delete(slot);
      peers.peerGone(slot);
    }
    incoming.slot = slot;
    this.#incoming.set(slot, incoming);
    this.#connect(slot);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.unref();
    // `close` follows, and says all that matters.
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

function slotsIn(directory: string): number[] {
  return readdirSync(directory).flatMap((name) => {
    const match = NAME.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
}

/** All that is said in one turn of the event loop goes out in one write. */
function lineWriter(socket: Socket): (message: PeerMessage | PeerAnswer) => void {
  let pending = '';
  return (message) => {
    if (socket.destroyed || socket.writableLength > UNREAD_BYTES_MAX) return;
    if (pending === '') {
      queueMicrotask(() => {
        const text = pending;
        pending = '';
        if (!socket.destroyed && socket.writable) socket.write(text);
      });
    }
    pending += `${JSON.stringify(message)}\n`;
  };
}

function eachLine(socket: Socket, take: (message: PeerMessage | PeerAnswer) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    if (rest.length > LINE_CHARS_MAX) socket.destroy();
    for (const line of lines) {
      const message = parseLine(line);
      if (message !== null) take(message);
    }
  });
}
