import { describe, expect, it } from 'vitest';
import type { Hello } from '../../feed/protocol.ts';
import { awaitApplied } from './await-applied.ts';
import { type FeedConnection, Registry } from './registry.ts';

const connection: FeedConnection = { supersede: () => undefined, replace: () => undefined };
const hello = (slot: number, session = 's'): Hello => ({
  protocol: 1,
  gatewayId: `i/${slot}`,
  session,
  region: '',
  role: 'standalone',
  version: '0',
  have: null,
});
const ack = (slot: number, rev: number, session = 's') => ({ gatewayId: `i/${slot}`, session, epoch: 1, rev });
const target = (gatewayCount: number) => ({ epoch: 1, rev: 5, gatewayCount });
const NEVER_MS = 60_000;

describe('waiting until a revision is in force', () => {
  it('ends when the last gateway process has confirmed it or a later one', async () => {
    const registry = new Registry();
    registry.claim(hello(0), connection);
    registry.claim(hello(1), connection);
    const applied = awaitApplied(registry, target(2), NEVER_MS);
    registry.acknowledge(ack(0, 6));
    registry.acknowledge(ack(1, 4));
    registry.acknowledge(ack(1, 5));
    expect(await applied).toBe(true);
  });

  it('includes a gateway process that is just connecting', async () => {
    const registry = new Registry();
    const applied = awaitApplied(registry, target(1), NEVER_MS);
    registry.claim(hello(0), connection);
    registry.acknowledge(ack(0, 5));
    expect(await applied).toBe(true);
  });

  it('does not take the word of a session that was superseded', async () => {
    const registry = new Registry();
    registry.claim(hello(0, 'old'), connection);
    registry.claim(hello(0, 'new'), connection);
    expect(registry.acknowledge(ack(0, 5, 'old'))).toBe(false);
    expect(await awaitApplied(registry, target(1), 1)).toBe(false);
    registry.acknowledge(ack(0, 5, 'new'));
    expect(await awaitApplied(registry, target(1), 1)).toBe(true);
  });

  it('ends with the time for one that is not there, and at once where there is nobody to wait for', async () => {
    expect(await awaitApplied(new Registry(), target(1), 5)).toBe(false);
    expect(await awaitApplied(new Registry(), target(0), NEVER_MS)).toBe(true);
  });
});
