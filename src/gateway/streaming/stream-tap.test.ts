import { existsSync, readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StreamTap } from './stream-tap.ts';

const CHUNK = (content: string, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', model: 'm-2', choices: [{ index: 0, delta: { content }, finish_reason: finish }], usage: null })}\n\n`;
const USAGE = `data: ${JSON.stringify({ id: 'chatcmpl-1', choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } })}\n\n`;
const STREAM = `: comment\n\n${CHUNK('Grüße')}${CHUNK(' "usage":{"x":1} [NOT DONE]')}${CHUNK('', 'stop')}${USAGE}data: [DONE]\n\n`;
const RELAYED = STREAM.replace(USAGE, '').replace('data: [DONE]\n\n', '');

function run(pieces: Buffer[]): { tap: StreamTap; out: string } {
  const tap = new StreamTap();
  const out: Buffer[] = [];
  for (const piece of pieces) {
    const forward = tap.push(piece);
    if (forward !== null) out.push(forward);
  }
  return { tap, out: Buffer.concat(out).toString() };
}

function cut(bytes: Buffer, at: number[]): Buffer[] {
  const points = [0, ...[...new Set(at.map((point) => point % bytes.length))].sort((a, b) => a - b), bytes.length];
  return points.slice(1).map((end, index) => bytes.subarray(points[index], end));
}

describe('StreamTap', () => {
  it('relays every byte but the usage chunk and [DONE], and reads the usage, wherever the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 12 }), fc.boolean(), (points, crlf) => {
        const stream = crlf ? STREAM.replaceAll('\n', '\r\n') : STREAM;
        const { tap, out } = run(cut(Buffer.from(stream), points));
        expect(out).toBe(crlf ? RELAYED.replaceAll('\n', '\r\n') : RELAYED);
        expect(tap.usage).toEqual({ prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
        expect(tap.usageEvent?.['id']).toBe('chatcmpl-1');
        expect([tap.providerId, tap.answeredModel]).toEqual(['chatcmpl-1', 'm-2']);
        expect([tap.sawDone, tap.sawFinishReason, tap.error, tap.end()]).toEqual([true, true, undefined, null]);
      }),
      { numRuns: 500 },
    );
  });

  it('sees the end of a stream as missing when it was cut inside an event', () => {
    const { tap, out } = run([Buffer.from(CHUNK('a') + CHUNK('b').slice(0, 40))]);
    expect(out).toBe(CHUNK('a'));
    expect(tap.end()).toBeNull();
    expect([tap.sawDone, tap.sawFinishReason]).toEqual([false, false]);
  });

  it('takes a complete event at the end of a stream that has no blank line behind it', () => {
    const { tap, out } = run([Buffer.from(CHUNK('a') + CHUNK('b', 'stop').trimEnd())]);
    expect(out).toBe(CHUNK('a'));
    expect(tap.end()?.toString()).toBe(CHUNK('b', 'stop'));
    expect([tap.sawDone, tap.sawFinishReason]).toEqual([false, true]);

    const done = run([Buffer.from(`${CHUNK('a')}data: [DONE]`)]);
    expect([done.tap.end(), done.tap.sawDone]).toEqual([null, true]);
  });

  it('keeps an error back with all that follows it', () => {
    const error = 'data: {"error":{"message":"overloaded","code":503}}\n\n';
    for (const pieces of [[CHUNK('a'), error, CHUNK('b')], [CHUNK('a') + error + CHUNK('b')]]) {
      const { tap, out } = run(pieces.map((piece) => Buffer.from(piece)));
      expect(tap.error).toEqual({ message: 'overloaded', code: 503 });
      expect(out).toBe(CHUNK('a'));
    }
  });

  it('keeps a usage object that rides on a content chunk where it is; the last one wins', () => {
    const chunk = (n: number) =>
      `data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"}}],"usage": {"completion_tokens":${n}}}\n\n`;
    const { tap, out } = run([Buffer.from(chunk(1) + chunk(2))]);
    expect(out).toBe(chunk(1) + chunk(2));
    expect(tap.usage).toEqual({ completion_tokens: 2 });
    expect(tap.usageEvent).toBeNull();
  });

  it('does not take the usage chunk of Azure prompt filters for usage', () => {
    const { tap, out } = run([Buffer.from('data: {"choices":[],"prompt_filter_results":[],"id":""}\n\n')]);
    expect(tap.usage).toBeNull();
    expect(out).toContain('prompt_filter_results');
  });

  // Recordings of real providers are kept beside the project, not in it; without them the vectors above stand alone.
  const fixtures = new URL('../../../../shared/fixtures/provider-recordings/', import.meta.url);
  it.each(recordings(fixtures))('reads the usage of the recorded stream %s one byte at a time', (name) => {
    const events = readFileSync(new URL(name, fixtures), 'utf8').trim().split('\n');
    const stream = Buffer.from(`${events.map((event) => `data: ${event}\n\n`).join('')}data: [DONE]\n\n`);
    const whole = run([stream]);
    const bytewise = run(Array.from(stream, (_, index) => stream.subarray(index, index + 1)));
    expect(bytewise.out).toBe(whole.out);
    expect(bytewise.tap.usage).toEqual(whole.tap.usage);
    expect(whole.tap.usage).not.toBeNull();
    expect(whole.tap.sawFinishReason).toBe(true);
  });
});

function recordings(root: URL): string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /^(openai|deepseek|openai-compatible)\/chat\/.*\.chunks\.txt$/.test(name))
    .sort();
}
