import { expect, it } from 'vitest';
import { makeAgreementPair } from '../../../util/x25519.ts';
import { StreamSessions } from './stream-sessions.ts';

it('has room for so many, in all and of one instance', () => {
  const sessions = new StreamSessions(4, 2);
  const open = (instanceId: string) =>
    sessions.open({
      instanceId,
      installation: 'i',
      hello: { gatewayId: `${instanceId}/0`, session: 's', sessionKey: makeAgreementPair().publicKey },
      sign: () => 'signature',
    });
  const refused = expect.objectContaining({ status: 503 });
  const [first] = [open('a'), open('a')];
  expect(() => open('a')).toThrow(refused);
  open('b');
  open('c');
  expect(() => open('d')).toThrow(refused);
  expect(sessions.size).toBe(4);

  sessions.end(first!);
  // Twice is as good as once: its place is not given away twice.
  sessions.end(first!);
  expect(sessions.size).toBe(3);
  open('a');
  expect(() => open('a')).toThrow(refused);
  expect(() => open('d')).toThrow(refused);

  sessions.endOf('a');
  expect(sessions.size).toBe(2);
  expect(sessions.find(first!.keys.id, 'a')).toBeNull();
  open('d');
});

it('is found by its own instance only', () => {
  const sessions = new StreamSessions();
  const hello = { gatewayId: 'a/0', session: 's', sessionKey: makeAgreementPair().publicKey };
  const opened = sessions.open({ instanceId: 'a', installation: 'i', hello, sign: () => 'signature' });
  expect(sessions.find(opened.keys.id, 'a')).toBe(opened);
  expect(sessions.find(opened.keys.id, 'b')).toBeNull();
});

it('is refused for a key that leads to nothing secret', () => {
  const hello = { gatewayId: 'a/0', session: 's', sessionKey: 'A'.repeat(43) };
  const sessions = new StreamSessions();
  expect(() => sessions.open({ instanceId: 'a', installation: 'i', hello, sign: () => '' })).toThrow(
    expect.objectContaining({ status: 400 }),
  );
  expect(sessions.size).toBe(0);
});
