import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../../tests/support/eventually.ts';
import { Protocol1Client } from '../../../tests/support/protocol-1/client.ts';
import { writeModel } from '../../../tests/support/stored-models.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { usageRecord } from '../../../tests/support/usage-records.ts';

let control: TestControlPlane;
let gateway: Protocol1Client;

beforeAll(async () => {
  control = await startControlPlane();
  gateway = new Protocol1Client(control.feedSocket, 'old/0');
});
afterAll(async () => {
  gateway.stop();
  await control.stop();
});

async function generate(body: object = {}) {
  const { json, headers, status } = await control.call('POST', '/key/generate', { body });
  expect(status).toBe(200);
  return { key: json.key as string, token: json.token as string, rev: Number(headers.get('x-claviger-rev')) };
}

const reaches = (rev: number) => eventually(() => gateway.position?.rev === rev && gateway.acknowledged?.rev === rev);

/** The fields of each kind of frame, of keys and of changes, as version 0.1.0 read them. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  welcome: ['t', 'protocol', 'position', 'mode'],
  'snapshot-begin': ['t', 'position', 'keyCount'],
  settings: ['t', 'settings'],
  keys: ['t', 'keys'],
  'deleted-keys': ['t', 'tokens'],
  'snapshot-end': ['t', 'position'],
  delta: ['t', 'epoch', 'from', 'to', 'changes'],
  ping: ['t', 'rev', 'dbAgeMs'],
  goaway: ['t', 'retryAfterMs'],
};
const PRINCIPAL_FIELDS = [
  ...[
    'token',
    'keyName',
    'keyAlias',
    'expiresAtMs',
    'blocked',
    'models',
    'aliases',
    'allowedRoutes',
    'userId',
    'teamId',
  ],
  ...['organizationId', 'projectId', 'maxBudget', 'rpmLimit', 'tpmLimit', 'maxParallelRequests', 'tags'],
];

describe('a gateway process of version 0.1.0', () => {
  it('gets a snapshot, then every change, and confirms them', async () => {
    const before = await generate({ models: ['m'] });
    const gone = await generate();
    await control.call('POST', '/key/delete', { body: { keys: [gone.key] } });
    gateway.run();
    await eventually(() => gateway.phase === 'live');
    expect(gateway.keys.get(before.token)).toMatchObject({ models: ['m'], blocked: false });
    expect(gateway.deleted.has(gone.token)).toBe(true);
    expect(gateway.settings).toHaveProperty('fleet_key');

    const after = await generate();
    await reaches(after.rev);
    await control.call('POST', '/key/block', { body: { key: before.key } });
    const { headers } = await control.call('POST', '/key/delete', { body: { keys: [after.key] } });
    await reaches(Number(headers.get('x-claviger-rev')));
    expect(gateway.keys.get(before.token)?.blocked).toBe(true);
    expect(gateway.keys.has(after.token)).toBe(false);
    expect(gateway.deleted.has(after.token)).toBe(true);
    await eventually(() => gateway.confirmations > 0);
  });

  it('does not learn of models, and goes on over their revisions', async () => {
    await writeModel(control.db, 'm-1', {});
    const made = await generate();
    await reaches(made.rev);
    expect(gateway.keys.has(made.token)).toBe(true);
  });

  it('refuses a key with a rule that it does not know', async () => {
    const somewhere = await generate({ allowed_regions: ['us'] });
    await reaches(somewhere.rev);
    expect(gateway.keys.get(somewhere.token)?.blocked).toBe(true);
    const fresh = new Protocol1Client(control.feedSocket, 'old/1');
    fresh.run();
    await eventually(() => fresh.phase === 'live');
    expect(fresh.keys.get(somewhere.token)?.blocked).toBe(true);
    fresh.stop();
  });

  it('gets what it missed when it comes back', async () => {
    const attempts = gateway.hellos.length;
    const at = gateway.position!;
    gateway.drop();
    const missed = await generate();
    await reaches(missed.rev);
    expect(gateway.hellos).toHaveLength(attempts + 1);
    expect(gateway.hellos.at(-1)?.have).toEqual(at);
  });

  it('delivers its usage', async () => {
    const batch = {
      installation: gateway.position!.installation,
      gatewayId: 'old/0',
      region: 'eu',
      incarnation: 'of 0.1.0',
      from: 0,
      to: 1,
      records: [usageRecord({ token: 'some-key' })],
    };
    expect(await gateway.ship(batch)).toMatchObject({ ok: true, cursor: 1 });
    expect(await gateway.ship(batch)).toEqual({ ok: false, cursor: 1 });
  });

  it('has got nothing that its protocol does not have, and had nothing to complain about but the cut', () => {
    const kinds = new Set<string>();
    for (const line of gateway.lines) {
      const kind = line.t as string;
      kinds.add(kind);
      expect(Object.keys(line).sort(), kind).toEqual([...(FIELDS[kind] ?? [`no ${kind} in protocol 1`])].sort());
      const keys = kind === 'keys' ? (line.keys as { principal: object }[]).map(({ principal }) => principal) : [];
      const changes = kind === 'delta' ? (line.changes as { kind: string; value: object | null }[]) : [];
      for (const change of changes) {
        expect(change.kind).toBe('key');
        if (change.value !== null) keys.push(change.value);
      }
      for (const principal of keys) expect(Object.keys(principal).sort()).toEqual([...PRINCIPAL_FIELDS].sort());
      if (kind === 'welcome') expect(line.protocol).toBe(1);
    }
    expect([...kinds]).toEqual(expect.arrayContaining(['welcome', 'keys', 'deleted-keys', 'delta', 'ping']));
    expect(gateway.complaints).toEqual([expect.stringMatching(/^The feed is not available: (aborted|closed)$/)]);
    expect(gateway.ended).toBeNull();
  });
});
