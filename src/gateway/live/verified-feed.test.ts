import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { at, INSTALLATION, keyChange, principalOf, recordingLog, tokenOf } from '../../../tests/support/principals.ts';
import type { Configuration } from '../../domain/configuration.ts';
import type { DownFrame, Hello } from '../../feed/protocol.ts';
import { answerOffer } from '../../feed/session-keys.ts';
import { LineSealer } from '../../feed/session-line.ts';
import { type LineReader, LineSigner, LineVerifier, SIGNED_KINDS_IN_SESSION } from '../../feed/signed-line.ts';
import { systemClock } from '../../util/clock.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, signText } from '../../util/ed25519.ts';
import { FeedClient, type FeedIdentity } from './feed-client.ts';
import type { FeedStreamHandler, FeedTransport } from './feed-transport.ts';
import { LiveKnowledge } from './live-knowledge.ts';
import { LocalSnapshots } from './local-snapshots.ts';
import { MapPrincipalStore } from './principal-store.ts';
import { SessionLines } from './session-lines.ts';

const pair = makeSigningPair();

const SNAPSHOT: DownFrame[] = [
  { t: 'welcome', protocol: 2, position: at(10), mode: 'snapshot' },
  { t: 'snapshot-begin', position: at(10), keyCount: 1 },
  { t: 'keys', keys: [{ principal: principalOf('a'), spendNano: '0' }] },
  { t: 'snapshot-end', position: at(10) },
];
const DELTA: DownFrame = { t: 'delta', epoch: 1, from: 10, to: 11, changes: [keyChange(11, 'b')] };
const DENY: DownFrame = { t: 'deny', epoch: 1, rev: 12, tokens: [tokenOf('a')] };

let directory: string;
let worker: ReturnType<typeof startWorker>;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'claviger-verified-'));
  worker = startWorker();
});
afterEach(async () => {
  await worker.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('a worker that pinned the key of its installation', () => {
  it('applies what is signed with it', () => {
    worker.receive(signed([...SNAPSHOT, DELTA, DENY]));
    expect(worker.store.position?.rev).toBe(11);
    expect(worker.store.key(tokenOf('b'))).toBeDefined();
    expect(worker.store.key(tokenOf('a'))?.principal.blocked).toBe(true);
    expect(worker.ended()).toBe(false);
  });

  it.each([
    ['a snapshot with another key in it', () => withFlip(signed(SNAPSHOT), 2), null],
    ['a snapshot without a signature', () => [...signed(SNAPSHOT).slice(0, 3), JSON.stringify(SNAPSHOT[3])], null],
    ['a snapshot with a key less', () => signed(SNAPSHOT).toSpliced(2, 1), null],
    ['a delta with a flipped bit', () => [...signed(SNAPSHOT), ...withFlip(signed([DELTA]), 0)], 10],
    ['a delta without a signature', () => [...signed(SNAPSHOT), JSON.stringify(DELTA)], 10],
    ['a denial without a signature', () => [...signed(SNAPSHOT), JSON.stringify(DENY)], 10],
    ['a delta of a stranger', () => [...signed(SNAPSHOT), ...signed([DELTA], makeSigningPair().privateKey)], 10],
    ['a delta of another installation', () => [...signed(SNAPSHOT), ...signed([DELTA], pair.privateKey, 'other')], 10],
  ])('ends the stream on %s, and nothing of it is in force', (_what, lines, rev) => {
    worker.receive(lines());
    expect(worker.store.position?.rev ?? null).toBe(rev);
    expect(worker.store.key(tokenOf('b'))).toBeUndefined();
    expect(worker.store.key(tokenOf('a'))?.principal.blocked ?? false).toBe(false);
    expect(worker.ended()).toBe(true);
    expect(worker.logged()).toMatch(/not signed by the installation|signature of a line/);
  });
});

describe('a worker that offers a session', () => {
  let inSession: ReturnType<typeof startWorker>;
  let sessions = 0;
  beforeEach(() => {
    sessions = 0;
    inSession = startWorker(({ gatewayId, session }) => {
      const parties = { installation: INSTALLATION, gatewayId, session };
      const onAgreed = () => {
        sessions += 1;
        return () => {
          sessions -= 1;
        };
      };
      return new SessionLines({ parties, installationKey: readPublicKey(pair.publicKey), onAgreed });
    });
  });
  afterEach(() => inSession.close());

  it('applies what is written there, denials without a signature too', () => {
    inSession.receive(sealed([...SNAPSHOT, DELTA, DENY, { t: 'ping', rev: 11, dbAgeMs: 1 }]));
    expect(inSession.store.position?.rev).toBe(11);
    expect(inSession.store.key(tokenOf('b'))).toBeDefined();
    expect(inSession.store.key(tokenOf('a'))?.principal.blocked).toBe(true);
    expect([inSession.ended(), sessions]).toEqual([false, 1]);
  });

  it.each<[string, () => string[], number | null]>([
    ['a stream without a session', () => signed([...SNAPSHOT, DELTA, DENY]), null],
    ['a delta without a MAC', () => [...sealed(SNAPSHOT), ...signed([DELTA])], 10],
    ['a denial without a MAC', () => [...sealed(SNAPSHOT), JSON.stringify(DENY)], 10],
    ['a delta that is left out', () => sealed([...SNAPSHOT, DELTA, DENY]).toSpliced(5, 1), 10],
    // Whoever has the keys of a session can not make what is kept on disk.
    ['a delta that nobody has signed', () => sealed([...SNAPSHOT, DELTA], new Set(['snapshot-end'])), 10],
    ['a snapshot that nobody has signed', () => sealed([...SNAPSHOT, DELTA], new Set(['delta'])), null],
  ])('in a session ends the stream on %s, and nothing of it is in force', (_what, lines, rev) => {
    inSession.receive(lines());
    expect(inSession.store.position?.rev ?? null).toBe(rev);
    expect(inSession.store.key(tokenOf('b'))).toBeUndefined();
    expect(inSession.store.key(tokenOf('a'))?.principal.blocked ?? false).toBe(false);
    expect([inSession.ended(), sessions]).toEqual([true, 0]);
  });

  /** As an admin writes them to this worker. */
  function sealed(frames: readonly DownFrame[], kinds: ReadonlySet<string> = SIGNED_KINDS_IN_SESSION): string[] {
    const { gatewayId, session, sessionKey } = inSession.hello();
    const sign = (text: string) => signText(text, readPrivateKey(pair.privateKey));
    const { firstLine, lines } = answerOffer({ installation: INSTALLATION, gatewayId, session }, sessionKey!, sign);
    const sealer = new LineSealer(lines);
    const signer = new LineSigner(INSTALLATION, sign, kinds);
    return [firstLine, ...frames.map((frame) => signer.sign(frame.t, JSON.stringify(frame)))].map((line) =>
      sealer.seal(line),
    );
  }
});

/** One character of a value is another one; the line is still one of its kind. */
function withFlip(lines: string[], index: number): string[] {
  return lines.with(index, lines[index]!.replace('"blocked":false', '"blocked":true'));
}

function signed(frames: readonly DownFrame[], privateKey = pair.privateKey, installation = INSTALLATION): string[] {
  const signer = new LineSigner(installation, (text) => signText(text, readPrivateKey(privateKey)));
  return frames.map((frame) => signer.sign(frame.t, JSON.stringify(frame)));
}

function startWorker(
  lineReader: (identity: FeedIdentity) => LineReader = () =>
    new LineVerifier(INSTALLATION, readPublicKey(pair.publicKey)),
) {
  const { log, text } = recordingLog();
  const store = new MapPrincipalStore();
  const snapshots = new LocalSnapshots({ directory: mkdtempSync(join(directory, 'slot-')), store, log });
  snapshots.restore(null);
  let handler: FeedStreamHandler | null = null;
  let hello = '';
  let ended = false;
  const transport: FeedTransport = {
    stream(_path, body, given) {
      hello = body;
      handler = given;
      return {
        close: () => {
          ended = true;
        },
      };
    },
    post: async () => ({ status: 204, body: '' }),
    close: () => undefined,
  };
  const client = new FeedClient({
    identity: { gatewayId: 'instance/0', session: 's1', region: 'eu', role: 'worker', version: '0' },
    transport,
    store,
    snapshots,
    knowledge: new LiveKnowledge(store, {} as Configuration, systemClock),
    clock: systemClock,
    random: () => 1,
    log,
    onSuperseded: () => undefined,
    onForeignInstallation: () => undefined,
    lineReader,
    backOffMinMs: 60_000,
    backOffMaxMs: 60_000,
  });
  client.run();
  return {
    store,
    logged: text,
    hello: () => JSON.parse(hello) as Hello,
    ended: () => ended,
    receive(lines: readonly string[]) {
      handler!.onOpen();
      for (const line of lines) handler!.onData(Buffer.from(`${line}\n`));
    },
    async close() {
      client.stop();
      await snapshots.close();
    },
  };
}
