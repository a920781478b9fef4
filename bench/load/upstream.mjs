/**
 * The fixed fast upstream: answers every request with the same bytes. It is no complete HTTP server, so that it costs
 * little next to what is measured. Runs in its own process; started by `main.mjs` over IPC with `{cert, key}`, answers
 * with `{http, https}` ports, and with `{requests}` when asked to count.
 */
import net from 'node:net';
import tls from 'node:tls';
import { chatAnswer, STREAM_CHUNK_MS, streamAnswer } from './payloads.mjs';

const CHAT = chatAnswer();
const STREAM = streamAnswer();
const HEAD_END = Buffer.from('\r\n\r\n');
/** Where `"stream":true` is looked for: the first bytes of a body, and its last piece. */
const PEEK_BYTES = 512;
const ASKS_FOR_STREAM = /"stream": ?true/;

const streams = new Set();
let requests = 0;

/** One connection: reads requests one after another, each answered when its body is complete. */
class Connection {
  constructor(socket) {
    this.socket = socket;
    this.head = null;
    this.remaining = 0;
    this.chunked = false;
    this.peek = '';
    this.frame = 0;
    socket.setNoDelay(true);
    socket.on('data', (data) => this.read(data));
    socket.on('error', () => undefined);
    socket.on('close', () => streams.delete(this));
  }

  read(data) {
    let piece = data;
    if (this.remaining === 0 && !this.chunked) {
      const seen = this.head === null ? data : Buffer.concat([this.head, data]);
      const end = seen.indexOf(HEAD_END);
      if (end < 0) {
        this.head = seen;
        return;
      }
      this.head = null;
      const text = seen.latin1Slice(0, end);
      const length = /\r\ncontent-length: *(\d+)/i.exec(text);
      this.chunked = length === null && /\r\ntransfer-encoding: *chunked/i.test(text);
      this.remaining = length === null ? 0 : Number(length[1]);
      this.peek = '';
      piece = seen.subarray(end + 4);
    }
    if (this.peek.length < PEEK_BYTES) this.peek += piece.toString('latin1', 0, PEEK_BYTES - this.peek.length);
    if (this.chunked) {
      if (piece.toString('latin1', Math.max(0, piece.length - 5)) !== '0\r\n\r\n') return;
      this.chunked = false;
    } else {
      this.remaining -= piece.length;
      if (this.remaining > 0) return;
      this.remaining = 0;
    }
    this.answer(
      ASKS_FOR_STREAM.test(this.peek) ||
        ASKS_FOR_STREAM.test(piece.toString('latin1', Math.max(0, piece.length - PEEK_BYTES))),
    );
  }

  answer(stream) {
    requests += 1;
    if (!stream) {
      this.socket.write(CHAT);
      return;
    }
    this.socket.write(Buffer.concat([STREAM.head, STREAM.frames[0]]));
    this.frame = 1;
    streams.add(this);
  }
}

// One timer for all streams: each tick gives every open stream its next event, each in a write of its own.
setInterval(() => {
  for (const connection of streams) {
    connection.socket.write(STREAM.frames[connection.frame]);
    connection.frame += 1;
    if (connection.frame === STREAM.frames.length) streams.delete(connection);
  }
}, STREAM_CHUNK_MS);

const listen = (server) =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));

process.on('message', async (message) => {
  if (message.cert !== undefined) {
    const http = await listen(net.createServer((socket) => new Connection(socket)));
    const options = { cert: message.cert, key: message.key, ALPNProtocols: ['http/1.1'] };
    const https = await listen(tls.createServer(options, (socket) => new Connection(socket)));
    process.send({ http, https });
  } else {
    process.send({ requests });
  }
});
process.on('disconnect', () => process.exit(0));
