/**
 * What it costs to prove who sent a ping, and that a line is the one that was written: signatures beside the MACs of a session, and what a
 * session costs to begin with.
 *
 *   node --import tsx bench/micro/session-mac.ts [rounds]
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { cpus } from 'node:os';
import { readSignature, signRequest, verifyRequest } from '../../src/feed/request-signature.ts';
import { answerOffer, SessionOffer } from '../../src/feed/session-keys.ts';
import { LineOpener, LineSealer } from '../../src/feed/session-line.ts';
import { macRequest, readMac, verifyMac } from '../../src/feed/session-request.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, signText } from '../../src/util/ed25519.ts';
import { statsOf } from '../../tests/support/fleet-probe.ts';

const rounds = Number(process.argv[2] ?? 5_000);
const instanceId = randomUUID();
const pair = makeSigningPair();
const privateKey = readPrivateKey(pair.privateKey);
const publicKey = readPublicKey(pair.publicKey);
const gatewayId = `${instanceId}/0`;
const session = randomUUID();
const parties = { installation: randomUUID(), gatewayId, session };
const sign = (text: string): string => signText(text, privateKey);

const ping = { gatewayId, session, sentAtMs: 123_456.789, epoch: 1, rev: 4_711, fresh: false, stats: statsOf() };
const request = { method: 'POST', path: '/feed/v1/ping', body: JSON.stringify(ping) };
const [cpu] = cpus();
row('machine', `${cpus().length} x ${cpu?.model.trim()}, Node ${process.version}`);
row('a ping', `${request.body.length} bytes`);

const signed = Array.from({ length: 2 }, () => signRequest(request, stampOf(), privateKey));
row(
  'signed, by the worker',
  time(() => signRequest(request, stampOf(), privateKey)),
);
row(
  'verified, by the admin',
  time((index) => verifyRequest(request, readSignature(signed[index % 2]!)!, publicKey)),
);

const offer = new SessionOffer();
const { firstLine, ...keys } = answerOffer(parties, offer.sessionKey, sign);
const sent = Array.from({ length: 2 }, (_, index) => macRequest(request, sessionStampOf(index + 1), keys));
row(
  'with a MAC, by the worker',
  time((index) => macRequest(request, sessionStampOf(index + 1), keys)),
);
row(
  'MAC checked, by the admin',
  time((index) => verifyMac(request, readMac(sent[index % 2]!)!, keys)),
);

const line = JSON.stringify({ t: 'ping', rev: 4_711, dbAgeMs: 12 });
const sealer = new LineSealer(keys.lines);
const lines = Array.from({ length: rounds * 2 }, () => sealer.seal(line));
const opener = new LineOpener(keys.lines);
const writer = new LineSealer(keys.lines);
row(
  'a line written',
  time(() => writer.seal(line)),
);
row(
  'a line read',
  time((index) => opener.open(lines[index]!) === line),
);

row(
  'a session offered, by the worker',
  time(() => new SessionOffer().sessionKey),
);
row(
  'agreed on, by the admin',
  time(() => answerOffer(parties, offer.sessionKey, sign)),
);
row(
  'agreed on, by the worker',
  time(() => offer.accept(firstLine, parties, publicKey)),
);

/** Per round, the first rounds left out. What comes back must be something, so that nothing is left out by the compiler. */
function time(work: (index: number) => unknown): string {
  let nothing = 0;
  for (let index = 0; index < rounds; index++) if (!work(index)) nothing += 1;
  const startMs = performance.now();
  for (let index = 0; index < rounds; index++) if (!work(rounds + index)) nothing += 1;
  const elapsedMs = performance.now() - startMs;
  if (nothing > 0) throw new Error('something was refused');
  return `${((elapsedMs * 1_000) / rounds).toFixed(1)} us`;
}

function stampOf() {
  return { instanceId, timeMs: Date.now(), nonce: randomBytes(16).toString('base64url') };
}

function sessionStampOf(counter: number) {
  return { instanceId, sessionId: keys.id, counter, timeMs: Date.now() };
}

function row(what: string, value: string): void {
  console.log(`| ${what} | ${value} |`);
}
