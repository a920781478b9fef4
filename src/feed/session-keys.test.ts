import { describe, expect, it } from 'vitest';
import { makeSigningPair, readPrivateKey, readPublicKey, signText } from '../util/ed25519.ts';
import { makeAgreementPair } from '../util/x25519.ts';
import { answerOffer, SessionOffer, type SessionParties } from './session-keys.ts';
import { LineSignatureError } from './signed-line.ts';

const PARTIES: SessionParties = { installation: 'i', gatewayId: 'g/0', session: 's' };
const pair = makeSigningPair();
const installationKey = readPublicKey(pair.publicKey);

describe('a session', () => {
  it('is agreed between those who are meant, with keys that differ each time', () => {
    const [first, second] = [agreed(), agreed()];
    for (const { here, there } of [first, second]) expect(here).toEqual(there);
    const all = [first, second].flatMap(({ here }) => [
      here.id,
      here.requests.toString('hex'),
      here.lines.toString('hex'),
    ]);
    expect(new Set(all).size).toBe(6);
    expect(first.here.requests).toHaveLength(32);
  });

  it('is not agreed when anything in the first line, or that it speaks for, is another', () => {
    const offer = new SessionOffer();
    const { firstLine } = answer(offer.sessionKey);
    const [json, signature] = firstLine.split('\t') as [string, string];
    const refused = (line: string, parties = PARTIES, by = offer, key = installationKey) =>
      expect(() => by.accept(line, parties, key)).toThrow(LineSignatureError);
    for (const change of [{ installation: 'j' }, { gatewayId: 'g/1' }, { session: 't' }]) {
      refused(firstLine, { ...PARTIES, ...change });
    }
    // An offer of another attempt, an installation of somebody else.
    refused(firstLine, PARTIES, new SessionOffer());
    refused(firstLine, PARTIES, offer, readPublicKey(makeSigningPair().publicKey));
    refused(answer(offer.sessionKey, makeSigningPair().privateKey).firstLine);
    const { id, key } = JSON.parse(json) as { id: string; key: string };
    for (const changed of [
      { t: 'session', id, key: makeAgreementPair().publicKey },
      { t: 'session', id: `${id.slice(0, -2)}xA`, key },
      { t: 'session', id, key, more: 1 },
    ]) {
      refused(`${JSON.stringify(changed)}\t${signature}`);
    }
    refused(json);
    refused(`${json}\t${'A'.repeat(86)}`);
    expect(offer.accept(firstLine, PARTIES, installationKey).id).toBe(id);
  });

  it('does not begin with a line of another kind, or with none', () => {
    for (const line of [
      '',
      '{',
      'null',
      '1',
      '{"t":"welcome"}',
      '{"t":"session"}',
      '{"t":"session","id":"x","key":"y"}',
    ]) {
      expect(() => new SessionOffer().accept(line, PARTIES, installationKey), line).toThrow(
        /does not begin with a session/,
      );
    }
  });

  it('is not the same for parties whose names run into each other', () => {
    const offer = new SessionOffer();
    const { firstLine } = answer(offer.sessionKey, pair.privateKey, { ...PARTIES, gatewayId: 'a","b', session: 'c' });
    const parties = { ...PARTIES, gatewayId: 'a', session: 'b","c' };
    expect(() => offer.accept(firstLine, parties, installationKey)).toThrow(LineSignatureError);
  });
});

function agreed() {
  const offer = new SessionOffer();
  const { firstLine, ...there } = answer(offer.sessionKey);
  return { there, here: offer.accept(firstLine, PARTIES, installationKey) };
}

function answer(sessionKey: string, privateKey = pair.privateKey, parties = PARTIES) {
  return answerOffer(parties, sessionKey, (text) => signText(text, readPrivateKey(privateKey)));
}
