import { describe, expect, it } from 'vitest';
import { makeSigningPair, readPrivateKey, readPublicKey, signText } from '../util/ed25519.ts';
import { LineSignatureError, LineSigner, LineVerifier } from './signed-line.ts';

const INSTALLATION = 'c7b6a1f2-0000-4000-8000-000000000001';
const pair = makeSigningPair();
const privateKey = readPrivateKey(pair.privateKey);
const publicKey = readPublicKey(pair.publicKey);

const SNAPSHOT = [
  { t: 'welcome', mode: 'snapshot' },
  { t: 'snapshot-begin', position: { rev: 3 } },
  { t: 'settings', settings: { text: 'a tab \t and a newline \n in a value' } },
  { t: 'ping', rev: 3 },
  { t: 'keys', keys: [{ token: 'a' }, { token: 'b' }] },
  { t: 'of-a-later-version', x: 1 },
  { t: 'snapshot-end', position: { rev: 3 } },
];
const LIVE = [
  { t: 'delta', from: 3, to: 4 },
  { t: 'deny', rev: 5, tokens: ['a'] },
  { t: 'delta', from: 4, to: 5 },
];

describe('signed lines', () => {
  it('carry a signature where the specification says so, and nowhere else', () => {
    const lines = signed([...SNAPSHOT, ...LIVE]);
    expect(lines.filter((line) => line.includes('\t')).map((line) => JSON.parse(LineVerifier.jsonOf(line)).t)).toEqual([
      'snapshot-end',
      'delta',
      'deny',
      'delta',
    ]);
    expect(verified(lines)).toEqual([...SNAPSHOT, ...LIVE].map(({ t }) => t));
  });

  it('with a flipped bit anywhere in them are refused, at the latest at the end of their snapshot', () => {
    const lines = signed([...SNAPSHOT, ...LIVE]);
    let tried = 0;
    for (const [index, line] of lines.entries()) {
      const kind = JSON.parse(LineVerifier.jsonOf(line)).t;
      // Not vouched for, and outside of what is.
      if (kind === 'welcome' || kind === 'ping') continue;
      for (let at = 0; at < line.length; at++) {
        const flipped = line.slice(0, at) + String.fromCharCode(line.charCodeAt(at) ^ 1) + line.slice(at + 1);
        // A line whose kind is another one by then is another kind of line; the kind is read before.
        expect(() => verified(lines.with(index, flipped), lines), `${kind} at ${at}`).toThrow(LineSignatureError);
        tried += 1;
      }
    }
    expect(tried).toBeGreaterThan(500);
  });

  it('of a snapshot can not be left out, doubled, put in another order or taken from another snapshot', () => {
    const lines = signed(SNAPSHOT);
    const other = signed(SNAPSHOT.map((frame) => (frame.t === 'keys' ? { ...frame, keys: [] } : frame)));
    const [keys, end] = [lines[4]!, lines[6]!];
    for (const changed of [
      lines.toSpliced(4, 1),
      lines.toSpliced(4, 0, keys),
      lines.with(2, keys).with(4, lines[2]!),
      other.with(6, end),
      [lines[0]!, end],
    ]) {
      expect(() => verified(changed)).toThrow(LineSignatureError);
    }
  });

  it('of another installation, by another key or without a signature are refused', () => {
    const [delta] = signed([LIVE[0]!]);
    expect(verified([delta!])).toEqual(['delta']);
    expect(() => new LineVerifier('another', publicKey).verify('delta', delta!)).toThrow(/another installation/);
    const stranger = new LineVerifier(INSTALLATION, readPublicKey(makeSigningPair().publicKey));
    expect(() => stranger.verify('delta', delta!)).toThrow(LineSignatureError);
    expect(() => verified([LineVerifier.jsonOf(delta!)])).toThrow(/is not signed/);
  });

  it('are read without a key as if they had no signatures', () => {
    const trusting = new LineVerifier(INSTALLATION, null);
    for (const line of [...signed(LIVE), '{"t":"delta"}']) trusting.verify('delta', line);
    expect(LineVerifier.jsonOf('{"t":"ping"}')).toBe('{"t":"ping"}');
  });
});

function signed(frames: readonly { readonly t: string }[]): string[] {
  const signer = new LineSigner(INSTALLATION, (text) => signText(text, privateKey));
  return frames.map((frame) => signer.sign(frame.t, JSON.stringify(frame)));
}

/** The kinds, by the order of the original where the JSON itself was damaged. */
function verified(lines: readonly string[], original: readonly string[] = lines): string[] {
  const verifier = new LineVerifier(INSTALLATION, publicKey);
  return lines.map((line, index) => {
    const { t } = JSON.parse(LineVerifier.jsonOf(original[index]!)) as { t: string };
    verifier.verify(t, line);
    return t;
  });
}
