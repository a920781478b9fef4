import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { at, INSTALLATION, keyChange, principalOf, recordingLog, tokenOf } from '../../../tests/support/principals.ts';
import type { Configuration } from '../../domain/configuration.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import { LineSigner, LineVerifier } from '../../feed/signed-line.ts';
import { systemClock } from '../../util/clock.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, signText } from '../../util/ed25519.ts';
import { FeedClient } from './feed-client.ts';
import type { FeedStreamHandler, FeedTransport } from './feed-transport.ts';
import { LiveKnowledge } from './live-knowledge.ts';
import { LocalSnapshots } from './local-snapshots.ts';
import { MapPrincipalStore } from './principal-store.ts';

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

/** One character of a value is another one; the line is still one of its kind. */
function withFlip(lines: string[], index: number): string[] {
  return lines.with(index, lines[index]!.replace('"blocked":false', '"blocked":true'));
}

function signed(frames: readonly DownFrame[], privateKey = pair.privateKey, installation = INSTALLATION): string[] {
  const signer = new LineSigner(installation, (text) => signText(text, readPrivateKey(privateKey)));
  return frames.map((frame) => signer.sign(frame.t, JSON.stringify(frame)));
}

function startWorker() {
  const { log, text } = recordingLog();
  const store = new MapPrincipalStore();
  const snapshots = new LocalSnapshots({ directory: join(directory, 'slot'), store, log });
  snapshots.restore(null);
  let handler: FeedStreamHandler | null = null;
  let ended = false;
  const transport: FeedTransport = {
    stream(_path, _body, given) {
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
  const publicKey = readPublicKey(pair.publicKey);
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
    verifier: () => new LineVerifier(INSTALLATION, publicKey),
    backOffMinMs: 60_000,
    backOffMaxMs: 60_000,
  });
  client.run();
  return {
    store,
    logged: text,
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
