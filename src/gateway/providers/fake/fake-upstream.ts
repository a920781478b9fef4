import type { Upstream, UpstreamErrorKind, UpstreamHandler, UpstreamRequest } from '../upstream.ts';
import { UpstreamError } from '../upstream.ts';
import type { FakeAnswer } from './answer.ts';
import { answerFor } from './answer.ts';
import type { Timer, Timers } from './timers.ts';
import { systemTimers } from './timers.ts';

/** Frames sent in one turn of the event loop when the script asks for no pause; then other requests get theirs. */
const FRAMES_PER_TURN_MAX = 64;

/**
 * The provider `fake`: answers in this process what an OpenAI-compatible provider would answer over the network, with
 * the delays and failures that the request's script asks for (`script.ts`). Nothing is remembered between requests but
 * a number that makes ids unique.
 */
export function createFakeUpstream({ timers }: { readonly timers: Timers } = { timers: systemTimers }): Upstream {
  const running = new Set<Delivery>();
  let sequence = 0;
  let closed = false;
  return {
    dispatch(request, handler) {
      sequence += 1;
      const delivery = new Delivery(request, handler, timers, running, sequence);
      running.add(delivery);
      delivery.start(closed);
    },
    close() {
      closed = true;
      for (const delivery of running) delivery.fail('aborted', 'the fake provider was closed');
      return Promise.resolve();
    },
  };
}

/** One answer on its way. At most one timer is pending at any time, and none after the end. */
class Delivery {
  readonly #request: UpstreamRequest;
  readonly #handler: UpstreamHandler;
  readonly #timers: Timers;
  readonly #running: Set<Delivery>;
  readonly #answer: FakeAnswer;
  /** Frames that are sent before `cut` and `stall`. */
  readonly #framesMax: number;
  #timer: Timer | null = null;
  #next = 0;
  #paused = false;
  #done = false;

  constructor(
    request: UpstreamRequest,
    handler: UpstreamHandler,
    timers: Timers,
    running: Set<Delivery>,
    sequence: number,
  ) {
    this.#request = request;
    this.#handler = handler;
    this.#timers = timers;
    this.#running = running;
    this.#answer = answerFor({
      method: request.method,
      path: request.path,
      body: request.body,
      sequence,
      nowMs: timers.nowMs(),
    });
    const { script, frames } = this.#answer;
    const broken = script.fail === 'cut' || script.fail === 'stall';
    this.#framesMax = broken
      ? Math.min(script.failAfter ?? Math.floor(frames.count / 2), frames.count - 1)
      : frames.count;
  }

  start(closed: boolean): void {
    this.#handler.onStart(() => this.fail('aborted', 'the call to the fake provider was aborted'));
    if (this.#done) return;
    if (closed) {
      this.#after(0, 0, '', () => this.fail('connect', 'the fake provider was closed'));
      return;
    }
    const { script } = this.#answer;
    const timeoutMs = this.#request.headersTimeoutMs;
    if (script.fail === 'hang') this.#silence(timeoutMs, 'no answer');
    else this.#after(script.latencyMs, timeoutMs, 'no answer', () => this.#head());
  }

  fail(kind: UpstreamErrorKind, message: string): void {
    if (this.#done) return;
    this.#finish();
    this.#handler.onError(new UpstreamError(kind, message));
  }

  #head(): void {
    const { script, status, headers } = this.#answer;
    if (script.fail === 'refuse') this.fail('connect', 'the fake provider refused the connection');
    if (script.fail === 'reset') this.fail('reset', 'the fake provider closed the connection before its answer');
    if (this.#done) return;
    this.#handler.onHead(status, headers, () => this.#resume());
    if (this.#done) return;
    this.#pause(script.firstChunkMs);
  }

  /** Sends frames until the script, the handler or the turn's share says to wait. */
  #send(): void {
    for (let sent = 0; !this.#done && !this.#paused && this.#timer === null; sent++) {
      if (this.#next >= this.#framesMax) {
        this.#end();
        return;
      }
      if (sent === FRAMES_PER_TURN_MAX) this.#pause(0);
      else this.#frame();
    }
  }

  #frame(): void {
    const { script, frames } = this.#answer;
    const frame = frames.at(this.#next);
    this.#next += 1;
    if (!this.#handler.onData(script.fail === 'garbage' ? garbage(frame) : frame)) this.#paused = true;
    if (!this.#done && script.chunkMs > 0 && this.#next < this.#framesMax) this.#pause(script.chunkMs);
  }

  #end(): void {
    const { script, frames } = this.#answer;
    if (script.fail === 'stall') {
      this.#silence(this.#request.bodyTimeoutMs, 'no further data');
    } else if (script.fail === 'cut') {
      const frame = frames.at(this.#next);
      this.#handler.onData(frame.subarray(0, Math.ceil(frame.length / 2)));
      this.fail('reset', 'the fake provider cut its answer');
    } else {
      this.#finish();
      this.#handler.onEnd();
    }
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#timer === null && !this.#done) this.#send();
  }

  /** Waits, then sends on, unless the handler asked to stop meanwhile. */
  #pause(delayMs: number): void {
    this.#after(delayMs, this.#request.bodyTimeoutMs, 'no further data', () => {
      if (!this.#paused) this.#send();
    });
  }

  /** What a network client does after `timeoutMs` without a byte; 0 waits for ever. */
  #silence(timeoutMs: number, what: string): void {
    if (timeoutMs > 0) this.#after(Number.POSITIVE_INFINITY, timeoutMs, what, () => undefined);
  }

  /** Runs `then` after `delayMs`, or fails after `timeoutMs` (0 = none) when that is sooner. */
  #after(delayMs: number, timeoutMs: number, what: string, then: () => void): void {
    const late = timeoutMs > 0 && delayMs > timeoutMs;
    this.#timer = this.#timers.after(late ? timeoutMs : delayMs, () => {
      this.#timer = null;
      if (late) this.fail('timeout', `${what} from the fake provider within ${timeoutMs} ms`);
      else then();
    });
  }

  #finish(): void {
    this.#done = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#running.delete(this);
  }
}

/** As many bytes as the frame, none of them JSON, SSE or UTF-8; the same each time. */
function garbage(frame: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(frame.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 0x80 + ((i * 37) % 0x7f);
  return bytes;
}
