import { describe, expect, it } from 'vitest';
import { at } from '../../../tests/support/principals.ts';
import { DownFrameDecoder, FEED_LINE_BYTES_MAX } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import { answerOffer, type SessionKeys, type SessionParties } from '../../feed/session-keys.ts';
import { LineSealer } from '../../feed/session-line.ts';
import { LineSignatureError } from '../../feed/signed-line.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, signText } from '../../util/ed25519.ts';
import { SessionLines } from './session-lines.ts';

const PARTIES: SessionParties = { installation: 'i', gatewayId: 'g/0', session: 's' };
const pair = makeSigningPair();

const WELCOME: DownFrame = { t: 'welcome', protocol: 2, position: at(10), mode: 'delta' };
const PING: DownFrame = { t: 'ping', rev: 10, dbAgeMs: 3 };
const GOAWAY: DownFrame = { t: 'goaway', retryAfterMs: 60_000 };
const COMMAND: DownFrame = { t: 'command', command: 'drain' };

describe('a stream with a session', () => {
  it('is read as it was written, wherever it is cut, signs of life and what comes before the greeting too', () => {
    const frames = [PING, WELCOME, null, PING, COMMAND, null, GOAWAY];
    const expected = frames.filter((frame) => frame !== null);
    for (const bytesAtOnce of [1, 7, 100, 10_000]) {
      const stream = openStream();
      const text = Buffer.from(
        stream
          .write(frames)
          .map((line) => `${line}\n`)
          .join(''),
      );
      for (let start = 0; start < text.length; start += bytesAtOnce)
        stream.push(text.subarray(start, start + bytesAtOnce));
      expect(stream.read).toEqual(expected);
      expect(stream.agreed()).toBe(true);
    }
  });

  it('takes no stream that begins otherwise', () => {
    const begins: ((stream: Stream) => string[])[] = [
      () => [''],
      () => [JSON.stringify(WELCOME)],
      (stream) => stream.write([WELCOME]).slice(1),
      (stream) => stream.write([WELCOME]).map((line) => line.slice(0, line.lastIndexOf('\t'))),
      (stream) => stream.write([WELCOME], { parties: { ...PARTIES, gatewayId: 'g/1' } }),
      (stream) => stream.write([WELCOME], { sessionKey: openStream().reader.sessionKey }),
      (stream) => stream.write([WELCOME], { privateKey: makeSigningPair().privateKey }),
    ];
    for (const [index, begin] of begins.entries()) {
      const stream = openStream();
      expect(() => stream.receive(begin(stream)), String(index)).toThrow(LineSignatureError);
      expect(stream.read, String(index)).toEqual([]);
      expect(stream.agreed()).toBe(false);
    }
  });

  it.each<[string, (lines: string[], stream: Stream) => string[]]>([
    ['a line without a MAC', (lines) => lines.with(3, JSON.stringify(PING))],
    ['a sign of life without a MAC', (lines) => lines.with(3, '')],
    ['a line said twice', (lines) => lines.toSpliced(3, 0, lines[2]!)],
    ['the first line said twice', (lines) => lines.toSpliced(1, 0, lines[0]!)],
    ['a line left out', (lines) => lines.toSpliced(2, 1)],
    ['a sign of life left out', (lines) => lines.toSpliced(4, 1)],
    ['two lines in the other order', (lines) => [...lines.slice(0, 2), lines[3]!, lines[2]!, ...lines.slice(4)]],
    ['a line of another stream', (lines) => lines.with(3, openStream().write([WELCOME, PING, PING])[3]!)],
    ['a MAC of another line', (lines) => lines.with(3, `${textOf(lines[3]!)}\t${lines[2]!.split('\t').at(-1)}`)],
    ['a forged farewell', (lines) => lines.toSpliced(3, 0, `${JSON.stringify(GOAWAY)}\t${'A'.repeat(43)}`)],
    ['a forged command', (lines) => lines.toSpliced(3, 0, JSON.stringify(COMMAND))],
  ])('ends the stream on %s', (_what, change) => {
    const stream = openStream();
    const lines = stream.write([WELCOME, PING, { ...PING, rev: 11 }, null, { ...PING, rev: 12 }]);
    expect(() => stream.receive(change(lines, stream))).toThrow(LineSignatureError);
    // What was good before it counts, and nothing behind.
    expect(stream.read.length).toBeLessThan(4);
    expect(stream.read).toEqual([WELCOME, PING, { ...PING, rev: 11 }].slice(0, stream.read.length));
    expect(stream.agreed()).toBe(false);
    expect(() => stream.receive(stream.write([PING]))).toThrow('the stream is over');
  });

  it('ends the stream on one flipped byte, wherever in a ping it is', () => {
    const length = openStream().write([PING])[1]!.length;
    for (let index = 0; index < length; index++) {
      for (const flip of [0x01, 0x04, 0x80]) {
        const stream = openStream();
        const lines = stream.write([PING]);
        stream.receive(lines.slice(0, 1));
        const bytes = Buffer.from(`${lines[1]}\n`);
        bytes[index] = bytes[index]! ^ flip;
        // One that becomes a line end cuts the line in two.
        expect(() => stream.push(bytes), `byte ${index}, flip ${flip}`).toThrow(LineSignatureError);
        expect(stream.read).toEqual([]);
        expect(stream.agreed()).toBe(false);
      }
    }
  });

  it('has a session for requests until it ends', () => {
    const stream = openStream();
    expect(stream.agreed()).toBe(false);
    stream.receive(stream.write([WELCOME]));
    expect(stream.agreed()).toBe(true);
    stream.reader.close();
    expect(stream.agreed()).toBe(false);
  });
});

interface Stream {
  readonly reader: SessionLines;
  readonly read: DownFrame[];
  agreed(): boolean;
  /** As an admin writes it; null is a sign of life. */
  write(
    frames: readonly (DownFrame | null)[],
    options?: { parties?: SessionParties; sessionKey?: string; privateKey?: string },
  ): string[];
  receive(lines: readonly string[]): void;
  push(bytes: Buffer): void;
}

function openStream(): Stream {
  let keys: SessionKeys | null = null;
  const reader = new SessionLines({
    parties: PARTIES,
    installationKey: readPublicKey(pair.publicKey),
    onAgreed(agreed) {
      keys = agreed;
      return () => {
        keys = null;
      };
    },
  });
  const decoder = new DownFrameDecoder(FEED_LINE_BYTES_MAX, reader);
  const read: DownFrame[] = [];
  const push = (bytes: Buffer) => decoder.push(bytes, (frame) => read.push(frame));
  return {
    reader,
    read,
    push,
    agreed: () => keys !== null,
    write(frames, { parties = PARTIES, sessionKey = reader.sessionKey, privateKey = pair.privateKey } = {}) {
      const { firstLine, lines } = answerOffer(parties, sessionKey, (text) =>
        signText(text, readPrivateKey(privateKey)),
      );
      const sealer = new LineSealer(lines);
      return [firstLine, ...frames.map((frame) => (frame === null ? '' : JSON.stringify(frame)))].map((line) =>
        sealer.seal(line),
      );
    },
    receive: (lines) => {
      for (const line of lines) push(Buffer.from(`${line}\n`));
    },
  };
}

function textOf(line: string): string {
  return line.slice(0, line.lastIndexOf('\t'));
}
