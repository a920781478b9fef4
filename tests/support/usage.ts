import { readFileSync } from 'node:fs';
import type { Nano } from '../../src/domain/money.ts';
import { NO_USAGE, type UsageIntent, type UsageRecord, type UsageSettlement } from '../../src/domain/usage.ts';
import { scanFrames } from '../../src/gateway/live/checked-frames.ts';
import { segmentFiles } from '../../src/gateway/metering/recover-usage-log.ts';
import type { UsageSink, UsageWaiter } from '../../src/gateway/metering/usage-sink.ts';

/** What the tests of metering make their cases of. */

export function intentOf(requestId: string, fields: Partial<UsageIntent> = {}): UsageIntent {
  return {
    requestId,
    callId: requestId,
    token: 'a'.repeat(64),
    keyAlias: 'ä key',
    userId: null,
    teamId: 'team',
    organizationId: null,
    endUser: null,
    sessionId: null,
    callType: 'acompletion',
    route: '/v1/chat/completions',
    modelGroup: 'gpt-4o',
    model: 'openai/gpt-4o',
    modelId: '0123456789abcdef',
    provider: 'openai',
    apiBase: 'https://api.openai.com/v1',
    stream: false,
    tags: ['prod'],
    clientIp: '127.0.0.1',
    startedAtMs: 1_700_000_000_000,
    estimateNano: 500 as Nano,
    ...fields,
  };
}

export function settlementOf(requestId: string, fields: Partial<UsageSettlement> = {}): UsageSettlement {
  return {
    requestId,
    status: 'success',
    httpStatus: 200,
    errorCode: null,
    providerId: `chatcmpl-${requestId}`,
    answeredModel: 'gpt-4o-2024-08-06',
    usage: { ...NO_USAGE, promptTokens: 10, completionTokens: 5, totalTokens: 15 },
    estimated: false,
    costNano: 123 as Nano,
    firstTokenAtMs: null,
    endedAtMs: 1_700_000_001_000,
    ...fields,
  };
}

/** The record in the payload of a SETTLE frame. */
export function recordIn(seq: number, payload: Buffer): UsageRecord {
  const { settled } = JSON.parse(payload.toString('utf8')) as { settled: Omit<UsageRecord, 'seq'> };
  return { ...settled, seq };
}

/** A request as the usage log sees it: what it was told, in order. */
export class RecordingWaiter implements UsageWaiter {
  readonly events: string[];
  readonly name: string;
  readonly #wakers: (() => void)[] = [];

  constructor(name = 'w', events: string[] = []) {
    this.name = name;
    this.events = events;
  }

  onIntentWritten(): void {
    this.#tell(`${this.name} written`);
  }

  onIntentRefused(error: Error): void {
    this.#tell(`${this.name} refused: ${error.message}`);
  }

  onSettled(): void {
    this.#tell(`${this.name} settled`);
  }

  /** Resolves when it is told something the next time. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve));
  }

  #tell(event: string): void {
    this.events.push(event);
    for (const wake of this.#wakers.splice(0)) wake();
  }
}

/** Puts an intent into the log and waits for the answer. */
export async function begin(sink: UsageSink, requestId: string, fields: Partial<UsageIntent> = {}): Promise<void> {
  const waiter = new RecordingWaiter(requestId);
  const told = waiter.next();
  sink.intent(intentOf(requestId, fields), waiter);
  await told;
  if (waiter.events[0] !== `${requestId} written`) throw new Error(waiter.events[0]);
}

export async function finish(sink: UsageSink, requestId: string, fields: Partial<UsageSettlement> = {}): Promise<void> {
  const waiter = new RecordingWaiter(requestId);
  const told = waiter.next();
  sink.settle(settlementOf(requestId, fields), waiter);
  await told;
}

export interface LoggedFrame {
  readonly kind: 'intent' | 'settled';
  readonly requestId: string;
  readonly text: string;
}

/**
 * The numbered frames of a usage log by their number, read without the code under test but for the frame format. Throws when a
 * number is missing, or stands for two different things.
 */
export function readFrames(directory: string): Map<number, LoggedFrame> {
  const files = segmentFiles(directory).map(({ path, firstSeq }) => {
    const payloads: Record<string, Record<string, unknown>>[] = [];
    const texts: string[] = [];
    scanFrames(readFileSync(path), (payload) => {
      texts.push(payload.toString());
      payloads.push(JSON.parse(payload.toString()));
      return true;
    });
    return { path, firstSeq, payloads, texts, generation: payloads[0]?.head?.generation as number };
  });
  const frames = new Map<number, LoggedFrame>();
  files.forEach(({ path, firstSeq, payloads, texts }, index) => {
    let seq = firstSeq;
    const end = files[index + 1]?.firstSeq ?? Number.POSITIVE_INFINITY;
    payloads.forEach((payload, place) => {
      const kind = payload.intent !== undefined ? 'intent' : payload.settled !== undefined ? 'settled' : null;
      if (kind === null) return;
      const frame = { kind, requestId: payload[kind]!.requestId as string, text: texts[place]! } as const;
      if (seq < end) {
        if (frames.has(seq)) throw new Error(`frame ${seq} is in two segments, the second is ${path}`);
        frames.set(seq, frame);
      }
      seq += 1;
    });
  });
  const numbers = [...frames.keys()];
  numbers.forEach((seq, index) => {
    if (seq !== numbers[0]! + index) throw new Error(`frame ${numbers[0]! + index} is missing`);
  });
  return frames;
}
