import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FeedProbe } from '../../../tests/support/feed-probe.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';

const SUBSCRIBERS = 200;
const CHANGES = 40;

let database: TestDatabase;
let control: TestControlPlane;
let other: TestControlPlane;
const probes: FeedProbe[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  [control, other] = await Promise.all([startControlPlane({ database }), startControlPlane({ database })]);
});
afterAll(async () => {
  for (const probe of probes) probe.close();
  await Promise.all([control.stop(), other.stop()]);
  await database.drop();
});

/** The probes throw where a delta does not continue the one before, or comes before that was confirmed. */
describe(`${SUBSCRIBERS} subscribers of one control process`, () => {
  it('all get every change, in order and one delta at a time, whoever made it', async () => {
    const startedAt = performance.now();
    for (let slot = 0; slot < SUBSCRIBERS; slot += 1) {
      probes.push(
        new FeedProbe({
          socketPath: control.feedSocket,
          gatewayId: `instance-${slot}/0`,
          region: `region-${slot % 3}`,
        }),
      );
    }
    await Promise.all(probes.map((probe) => probe.until(() => probe.position !== null, 30_000)));
    const connectedMs = performance.now() - startedAt;

    const propagationMs: number[] = [];
    let rev = 0;
    const tokens: string[] = [];
    for (let n = 0; n < CHANGES; n += 1) {
      // Every fourth is made elsewhere, and found by notification or poll.
      const plane = n % 4 === 3 ? other : control;
      const askedAt = performance.now();
      const { json, headers } = await plane.call('POST', '/key/generate', { body: {} });
      rev = Number(headers.get('x-claviger-rev'));
      tokens.push(json.token as string);
      await Promise.all(probes.map((probe) => probe.untilRev(rev)));
      propagationMs.push(performance.now() - askedAt);
    }
    // And without waiting for each: these may arrive together.
    await Promise.all(
      tokens.map((key, n) => (n % 2 === 0 ? control : other).call('POST', '/key/block', { body: { key } })),
    );
    const last = rev + tokens.length;
    await Promise.all(probes.map((probe) => probe.untilRev(last)));

    const heads = new Set(probes.map((probe) => probe.head));
    expect(heads.size).toBe(1);
    for (const probe of probes) {
      expect(probe.failure).toBeNull();
      expect(probe.ended).toBe(false);
      expect(tokens.filter((token) => probe.keys.get(token)?.blocked !== true)).toEqual([]);
    }
    propagationMs.sort((a, b) => a - b);
    const at = (share: number) => propagationMs[Math.floor((propagationMs.length - 1) * share)]!.toFixed(0);
    console.log(
      `${SUBSCRIBERS} subscribers connected with a snapshot in ${connectedMs.toFixed(0)} ms; a change was with all of them ` +
        `${at(0.5)} ms (median), ${at(0.95)} ms (p95), ${at(1)} ms (longest) after it was asked for`,
    );
  }, 120_000);

  it('come back together within bounds, from the change log', async () => {
    for (const probe of probes) probe.close();
    await Promise.all(probes.map((probe) => probe.until(() => probe.ended)));
    const { headers } = await other.call('POST', '/key/generate', { body: {} });
    const rev = Number(headers.get('x-claviger-rev'));
    const startedAt = performance.now();
    const again = probes.map(
      (probe, slot) =>
        new FeedProbe({
          socketPath: control.feedSocket,
          gatewayId: `instance-${slot}/0`,
          region: `region-${slot % 3}`,
          from: probe,
        }),
    );
    probes.push(...again);
    await Promise.all(again.map((probe) => probe.untilRev(rev)));
    console.log(`${SUBSCRIBERS} subscribers were current again in ${(performance.now() - startedAt).toFixed(0)} ms`);
    expect(again.filter((probe) => probe.has('snapshot-begin'))).toEqual([]);
  }, 60_000);
});
