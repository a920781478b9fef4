/**
 * The load generator: keep-alive HTTP/1.1 over raw sockets, with just enough of a parser to know where an answer ends.
 * `closedLoop` keeps a number of connections busy; `openLoop` starts requests at a fixed rate whatever the answers do, and
 * counts each latency from the moment its request was due, so that a stall is not hidden by requests that were never sent.
 */
import net from 'node:net';

/** Connections of the open loop; a request that is due when all are busy waits, and its waiting counts. */
const OPEN_LOOP_CONNECTIONS_MAX = 512;
/** An answer that takes longer ends the run with an error: the candidate hangs. */
const ANSWER_MS_MAX = 30_000;

const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * Keeps `connections` busy for `warmMs` plus `durationMs`. `onMeasure('start' | 'stop')` is called at the two ends of the
 * measured part; answers that end between them are counted. The first requests are spread over `spreadMs`: answers of the
 * same length would otherwise all end at once, and a slice would count one wave more or less.
 */
export async function closedLoop(options) {
  const run = new Run();
  try {
    return await keepBusy(run, options);
  } finally {
    run.close();
  }
}

async function keepBusy(run, { port, request, connections, spreadMs = 0, warmMs, durationMs, onMeasure }) {
  const open = await Promise.all(Array.from({ length: connections }, () => connect(port, request, run)));
  run.onDone = (connection) => {
    if (!run.stopping) connection.send(performance.now());
  };
  for (const connection of open) {
    connection.send(performance.now());
    if (spreadMs > 0) await run.sleep(spreadMs / connections);
  }
  await run.sleep(warmMs);
  onMeasure?.('start');
  run.measure();
  const startedAt = performance.now();
  await run.sleep(durationMs);
  const elapsedMs = performance.now() - startedAt;
  onMeasure?.('stop');
  const result = run.result(elapsedMs);
  await run.end();
  return { ...result, total: run.total };
}

/** Starts `perSecond` requests each second, evenly, for `warmMs` plus `durationMs`. */
export async function openLoop(options) {
  const run = new Run();
  try {
    return await keepRate(run, options);
  } finally {
    run.close();
  }
}

async function keepRate(run, { port, request, perSecond, warmMs, durationMs, onMeasure }) {
  const spare = await Promise.all(Array.from({ length: 32 }, () => connect(port, request, run)));
  const due = [];
  let opening = 0;
  run.onDone = (connection) => {
    const dueAt = due.shift();
    if (dueAt === undefined) spare.push(connection);
    else connection.send(dueAt);
  };
  const start = (dueAt) => {
    const connection = spare.pop();
    if (connection !== undefined) {
      connection.send(dueAt);
      return;
    }
    due.push(dueAt);
    if (run.connections.length + opening >= OPEN_LOOP_CONNECTIONS_MAX) return;
    opening += 1;
    connect(port, request, run).then(
      (fresh) => {
        opening -= 1;
        run.onDone(fresh);
      },
      (error) => run.fail(error),
    );
  };

  const startedAt = performance.now();
  const everyMs = 1_000 / perSecond;
  let sent = 0;
  const pump = () => {
    if (run.stopping) return;
    const now = performance.now();
    for (let dueAt = startedAt + sent * everyMs; dueAt <= now; dueAt = startedAt + sent * everyMs) {
      start(dueAt);
      sent += 1;
    }
    setTimeout(pump, 1);
  };
  pump();
  await run.sleep(warmMs);
  onMeasure?.('start');
  run.measure();
  const measuredAt = performance.now();
  await run.sleep(durationMs);
  const elapsedMs = performance.now() - measuredAt;
  onMeasure?.('stop');
  const result = run.result(elapsedMs);
  await run.end();
  return { ...result, unsent: due.length };
}

/** Sends one request and returns the whole answer: to see that a candidate answers what it should. */
export async function once({ port, request }) {
  const run = new Run();
  run.keep = [];
  const connection = await connect(port, request, run);
  const done = new Promise((resolve) => {
    run.onDone = resolve;
  });
  connection.send(performance.now());
  const late = run.sleep(ANSWER_MS_MAX).then(() => run.fail(new Error(`no answer within ${ANSWER_MS_MAX} ms`)));
  late.catch(() => undefined);
  await Promise.race([done, run.failed]).finally(() => run.close());
  return { status: connection.status, body: Buffer.concat(run.keep).toString('utf8') };
}

/** What one run has seen. Latencies in milliseconds. */
class Run {
  constructor() {
    this.onDone = () => undefined;
    this.keep = null;
    this.connections = [];
    this.stopping = false;
    /** All answers of the run, also those outside the measured part. */
    this.total = 0;
    this.latencies = [];
    this.firstBytes = [];
    this.statuses = new Map();
    this.failed = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => undefined);
  }

  measure() {
    this.latencies = [];
    this.firstBytes = [];
    this.statuses = new Map();
  }

  done(connection, now) {
    this.total += 1;
    this.latencies.push(now - connection.dueAt);
    this.firstBytes.push(connection.firstByteAt - connection.dueAt);
    this.statuses.set(connection.status, (this.statuses.get(connection.status) ?? 0) + 1);
    this.onDone(connection);
  }

  result(elapsedMs) {
    const bad = [...this.statuses].filter(([status]) => status !== 200);
    if (bad.length > 0) throw new Error(`answers other than 200: ${bad.map(([s, n]) => `${n} x ${s}`).join(', ')}`);
    if (this.latencies.length === 0) throw new Error('not one answer came within the measured time');
    return {
      completed: this.latencies.length,
      perSecond: (this.latencies.length * 1_000) / elapsedMs,
      latencies: Float64Array.from(this.latencies).sort(),
      firstBytes: Float64Array.from(this.firstBytes).sort(),
    };
  }

  sleep(ms) {
    let timer;
    const pause = new Promise((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    return Promise.race([pause, this.failed]).finally(() => clearTimeout(timer));
  }

  /** Lets answers under way end, so that the next candidate does not start beside this one's leftovers. */
  async end() {
    this.stopping = true;
    this.onDone = () => undefined;
    const deadline = performance.now() + ANSWER_MS_MAX;
    while (this.connections.some((connection) => connection.busy)) {
      if (performance.now() > deadline) throw new Error(`no answer within ${ANSWER_MS_MAX} ms`);
      await this.sleep(5);
    }
  }

  /** Also after a failure: a connection left open would go on asking during the next slice. */
  close() {
    this.stopping = true;
    for (const connection of this.connections) connection.socket.destroy();
  }
}

function connect(port, request, run) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    socket.once('error', reject);
    socket.once('connect', () => {
      const connection = new Connection(socket, request, run);
      run.connections.push(connection);
      if (run.stopping) socket.destroy();
      resolve(connection);
    });
  });
}

/** One keep-alive connection with at most one request under way. */
class Connection {
  constructor(socket, request, run) {
    this.socket = socket;
    this.request = request;
    this.run = run;
    this.busy = false;
    this.dueAt = 0;
    this.firstByteAt = 0;
    this.status = 0;
    this.head = null;
    this.inBody = false;
    this.remaining = 0;
    this.chunked = false;
    this.tail = '';
    socket.on('data', (data) => this.read(data));
    socket.on('error', (error) => run.fail(error));
    socket.on('close', () => {
      if (this.busy) run.fail(new Error('the connection was closed in the middle of an answer'));
    });
  }

  send(dueAt) {
    this.busy = true;
    this.dueAt = dueAt;
    this.firstByteAt = 0;
    this.inBody = false;
    this.socket.write(this.request);
  }

  read(data) {
    let piece = data;
    if (!this.inBody) {
      const seen = this.head === null ? data : Buffer.concat([this.head, data]);
      const end = seen.indexOf(HEAD_END);
      if (end < 0) {
        this.head = seen;
        return;
      }
      this.head = null;
      this.readHead(seen.latin1Slice(0, end));
      piece = seen.subarray(end + 4);
    }
    if (piece.length > 0 && this.firstByteAt === 0) this.firstByteAt = performance.now();
    if (this.run.keep !== null) this.run.keep.push(Buffer.from(piece));
    if (this.chunked) {
      this.tail = (this.tail + piece.latin1Slice(Math.max(0, piece.length - 7))).slice(-7);
      if (this.tail !== '\r\n0\r\n\r\n') return;
    } else {
      this.remaining -= piece.length;
      if (this.remaining > 0) return;
    }
    this.busy = false;
    this.run.done(this, performance.now());
  }

  readHead(text) {
    this.status = Number(text.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(text);
    this.chunked = length === null;
    this.remaining = length === null ? 0 : Number(length[1]);
    this.tail = '';
    this.inBody = true;
  }
}
