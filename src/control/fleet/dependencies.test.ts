import { describe, expect, it } from 'vitest';
import type { ControlRow } from '../../storage/queries/fleet.ts';
import { DATABASE_AWAY_AFTER_MS, type DependencyFacts, dependenciesOf } from './dependencies.ts';
import type { GatewayView } from './fleet-view.ts';

const NOW_MS = 1_000_000;

const gateway = (changes: object = {}, said: object | null = null, joined = false): GatewayView =>
  ({
    state: 'live',
    heardAgeMs: 0,
    row: { joined, heardAtMs: NOW_MS },
    stats: { said: said === null ? null : { dependencies: said }, config: null, checked: null },
    ...changes,
  }) as unknown as GatewayView;

const of = (facts: Partial<DependencyFacts>) =>
  dependenciesOf({
    state: 'live',
    gateways: [gateway()],
    control: { atMs: NOW_MS } as ControlRow,
    nowMs: NOW_MS,
    ...facts,
  });

describe('what an instance depends on', () => {
  it('has its database away from when its control process last wrote to it', () => {
    const control = (ageMs: number) => ({ atMs: NOW_MS - ageMs }) as ControlRow;
    expect(of({ control: control(DATABASE_AWAY_AFTER_MS - 1) }).database).toEqual({ awaySinceMs: null });
    expect(of({ control: control(DATABASE_AWAY_AFTER_MS) }).database).toEqual({
      awaySinceMs: NOW_MS - DATABASE_AWAY_AFTER_MS,
    });
    expect(of({ control: control(DATABASE_AWAY_AFTER_MS), state: 'left' }).database).toBeNull();
    expect(of({ control: null }).database).toBeNull();
  });

  it('is, for a joined worker, its control plane, from when it was last heard of', () => {
    const said = { controlPlane: 'https://admin.test', mirror: null };
    const live = of({ gateways: [gateway({}, said, true)], control: null });
    expect(live).toMatchObject({
      database: null,
      controlPlane: { awaySinceMs: null, address: 'https://admin.test' },
    });
    const suspect = gateway(
      { state: 'suspect', heardAgeMs: 40_000, row: { joined: true, heardAtMs: NOW_MS - 40_000 } },
      said,
    );
    expect(of({ gateways: [suspect], control: null }).controlPlane!.awaySinceMs).toBe(NOW_MS - 40_000);
    // One gateway process that is heard of is enough.
    expect(of({ gateways: [suspect, gateway({}, said, true)], control: null }).controlPlane!.awaySinceMs).toBeNull();
  });

  it('has the snapshot mirror as the gateway process says that writes it', () => {
    const mirror = { writtenAgeMs: 5_000, failure: 'no space left' };
    const gateways = [
      gateway({ heardAgeMs: 1_000 }, { controlPlane: null, mirror: null }),
      gateway({ heardAgeMs: 1_000 }, { controlPlane: null, mirror }),
    ];
    expect(of({ gateways }).snapshotMirror).toEqual({ writtenAtMs: NOW_MS - 6_000, failure: 'no space left' });
    expect(of({}).snapshotMirror).toBeNull();
  });
});
