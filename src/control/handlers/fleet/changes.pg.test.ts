import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FleetProbe } from '../../../../tests/support/fleet-probe.ts';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../../tests/support/test-database.ts';

let database: TestDatabase;
let admin: TestControlPlane;

beforeAll(async () => {
  database = await createTestDatabase();
  admin = await startControlPlane({ database, instanceId: 'admin', config: {} });
});
afterAll(async () => {
  await admin.stop();
  await database.drop();
});

const makeKey = async (body: object = {}) => (await admin.call('POST', '/key/generate', { body })).json;
const post = (path: string, body: object = {}) => admin.call('POST', path, { body });
const revOf = ({ headers }: { headers: Headers }) => Number(headers.get('x-claviger-rev'));
const change = async (rev: number) => (await admin.call('GET', `/fleet/changes/${rev}`)).json;
const info = async (token: string) => (await admin.call('GET', `/key/info?key=${token}`)).json.info;
const rollBack = (rev: number, body: object = {}) => post(`/fleet/changes/${rev}/rollback`, body);

describe('the list of changes', () => {
  it('is newest first, in pages without gap or double, and filtered', async () => {
    const { token } = await makeKey({ key_alias: 'listed' });
    for (let n = 1; n <= 4; n++) await post('/key/update', { key: token, rpm_limit: n });
    await makeKey();
    const seen: number[] = [];
    let before: string | null = '';
    while (before !== null) {
      const page: string = before === '' ? '' : `&before=${before}`;
      const { json } = await admin.call('GET', `/fleet/changes?object=${token}&kind=key&limit=2${page}`);
      seen.push(...json.changes.map((one: { rev: number }) => one.rev));
      before = json.next_before;
    }
    expect(seen).toHaveLength(5);
    expect(seen).toEqual([...seen].sort((a, b) => b - a));
    const { json } = await admin.call('GET', `/fleet/changes?object=${token}&limit=1`);
    expect(json.changes).toMatchObject([
      { kind: 'key', op: 'updated', lane: 'fast', actor: 'default_user_id', object: token, fields: ['rpm_limit'] },
    ]);
    expect((await admin.call('GET', '/fleet/changes?actor=nobody')).json).toEqual({ changes: [], next_before: null });
    expect((await admin.call('GET', '/fleet/changes?before=x')).status).toBe(400);
    expect((await admin.call('GET', '/fleet/changes?limit=0')).status).toBe(422);
  });

  it('has of each change what was different, field by field, who made it, and no secret', async () => {
    const { token } = await makeKey({
      metadata: { team: 'a', kept: 1, logging: [{ callback_vars: { langfuse_secret: 'sk-very-secret-1' } }] },
    });
    const updated = await admin.call('POST', '/key/update', {
      body: {
        key: token,
        models: ['m1'],
        metadata: { team: 'b', kept: 1, logging: [{ callback_vars: { langfuse_secret: 'sk-very-secret-2' } }] },
      },
      headers: { 'litellm-changed-by': 'somebody', 'x-litellm-call-id': 'request-7' },
    });
    const shown = await change(revOf(updated));
    expect(shown).toMatchObject({ op: 'updated', changed_by: 'somebody', request_id: 'request-7', object: token });
    const byField = Object.fromEntries(shown.differences.map((one: { field: string }) => [one.field, one]));
    expect(byField.models).toMatchObject({ before: [], after: ['m1'] });
    expect(byField['metadata.team']).toEqual({ field: 'metadata.team', before: 'a', after: 'b' });
    expect(byField['metadata.kept']).toBeUndefined();
    expect(byField['metadata.logging']).toMatchObject({ secret: true });
    expect(JSON.stringify(shown)).not.toMatch(/very-secret|\$sealed|fingerprint/);
    expect(JSON.stringify(byField['metadata.logging'].after)).toContain('changed');
  });

  it('has of each change who had it when, and who has not', async () => {
    const options = { socketPath: admin.feedSocket };
    const one = await new FleetProbe({ ...options, gatewayId: 'seen/0' }).arrive();
    const other = await new FleetProbe({ ...options, gatewayId: 'blind/0', acknowledge: false }).arrive();
    const rev = revOf(await post('/key/generate'));
    await one.untilRev(rev);
    await expect
      .poll(async () => (await change(rev)).delivery.applied)
      .toMatchObject([{ gateway: 'seen/0', worker: 'seen' }]);
    const { delivery } = await change(rev);
    expect(Date.parse(delivery.applied[0].applied_at)).toBeGreaterThan(Date.now() - 60_000);
    expect(delivery.pending).toMatchObject([{ gateway: 'blind/0', reason: 'not confirmed yet' }]);
    one.close();
    other.close();
  });

  it('knows no revision that was never made', async () => {
    expect((await admin.call('GET', '/fleet/changes/999999')).status).toBe(404);
    expect((await admin.call('GET', '/fleet/changes/zero')).status).toBe(422);
  });
});

describe('a roll-back', () => {
  it('gives the changed fields their old values and leaves later changes of others', async () => {
    const { token } = await makeKey({ models: ['a'], metadata: { x: 1 } });
    const rev = revOf(await post('/key/update', { key: token, models: ['b'], rpm_limit: 5, metadata: { x: 2, y: 3 } }));
    await post('/key/update', { key: token, tpm_limit: 9 });
    const { status, json, headers } = await rollBack(rev, { confirm: true });
    expect(status).toBe(200);
    expect(json).toMatchObject({ rolled_back: rev, rev: Number(headers.get('x-claviger-rev')), dry_run: false });
    expect(await info(token)).toMatchObject({ models: ['a'], rpm_limit: null, tpm_limit: 9, metadata: { x: 1 } });
    expect((await info(token)).metadata).toEqual({ x: 1 });
    expect(await change(json.rev)).toMatchObject({ op: 'updated', object: token });
  });

  it('says with dry_run what it would do and does nothing', async () => {
    const { token } = await makeKey({ models: ['a', 'b'] });
    const rev = revOf(await post('/key/update', { key: token, models: ['b', 'a', 'c'] }));
    const { json } = await rollBack(rev, { dry_run: true });
    expect(json).toMatchObject({
      rev: null,
      dry_run: true,
      differences: [{ field: 'models', before: ['b', 'a', 'c'], after: ['a', 'b'] }],
      needs_confirm: [],
    });
    expect((await info(token)).models).toEqual(['b', 'a', 'c']);
    expect((await admin.call('GET', `/fleet/changes?object=${token}`)).json.changes).toHaveLength(2);
  });

  it('is refused where a later change touched the same field, with the reason', async () => {
    const { token } = await makeKey({ models: ['a'] });
    const rev = revOf(await post('/key/update', { key: token, models: ['b'], rpm_limit: 1 }));
    const later = revOf(await post('/key/update', { key: token, models: ['c'] }));
    for (const body of [{}, { confirm: true }, { dry_run: true }]) {
      const { status, json } = await rollBack(rev, body);
      expect([status, json.error.message]).toEqual([409, expect.stringContaining('models')]);
      expect(json.error.message).toContain(String(later));
    }
    expect(await info(token)).toMatchObject({ models: ['c'], rpm_limit: 1 });
  });

  it('never admits a refused key again without confirm: unblock, undelete, later expiry', async () => {
    const { token, key } = await makeKey({ duration: '10d', key_alias: 'dear' });
    const blocked = revOf(await post('/key/block', { key: token }));
    const refused = await rollBack(blocked);
    expect([refused.status, refused.json.error.message]).toEqual([409, expect.stringContaining('unblock')]);
    expect((await info(token)).blocked).toBe(true);
    expect((await rollBack(blocked, { dry_run: true })).json.needs_confirm).toHaveLength(1);
    expect((await rollBack(blocked, { confirm: true })).status).toBe(200);
    expect((await info(token)).blocked).toBe(false);

    const sooner = revOf(await post('/key/update', { key: token, duration: '1d' }));
    expect((await rollBack(sooner)).status).toBe(409);
    expect((await rollBack(sooner, { confirm: true })).status).toBe(200);

    await admin.db.write((tx) =>
      sql`update claviger.key_spend set spend_nano = 7000000000 where token = ${token}`.execute(tx),
    );
    const deleted = revOf(await post('/key/delete', { keys: [token] }));
    expect((await rollBack(deleted)).status).toBe(409);
    expect((await rollBack(deleted, { confirm: true })).status).toBe(200);
    expect(await info(token)).toMatchObject({ key_alias: 'dear', spend: 7 });
    expect((await admin.call('GET', '/key/info', { key })).status).toBe(200);
    const { json } = await admin.call('GET', `/fleet/changes?object=${token}`);
    const revisions = json.changes.map((one: { object_rev: number }) => one.object_rev);
    expect(revisions).toEqual([...revisions].sort((a: number, b: number) => b - a));
    expect(new Set(revisions).size).toBe(revisions.length);
  });

  it('never lets a key do more than it may now without confirm, and names the fields', async () => {
    const { token } = await makeKey({ max_budget: 10, rpm_limit: 100, allowed_regions: ['eu', 'us'], tpm_limit: 5 });
    const narrowed = { models: ['a'], max_budget: 1, rpm_limit: 10, allowed_regions: ['eu'], fence: 'strict' };
    const rev = revOf(await post('/key/update', { key: token, ...narrowed, tpm_limit: 9 }));
    const { status, json } = await rollBack(rev);
    expect(status).toBe(409);
    for (const clause of [
      'models would allow more (all in place of a)',
      'allowed_regions would allow more (eu, us in place of eu)',
      'fence would be weaker',
      'max_budget would rise (10 in place of 1)',
      'rpm_limit would rise',
      'confirm: true',
    ]) {
      expect(json.error.message).toContain(clause);
    }
    expect(json.error.message).not.toContain('tpm_limit');
    expect(await info(token)).toMatchObject(narrowed);
    expect((await rollBack(rev, { dry_run: true })).json.needs_confirm).toHaveLength(5);
    expect((await rollBack(rev, { confirm: true })).status).toBe(200);
    expect(await info(token)).toMatchObject({ models: [], max_budget: 10, rpm_limit: 100, tpm_limit: 5 });
  });

  it('takes away without confirm: it deletes what was created, blocks what was unblocked', async () => {
    const made = await post('/key/generate');
    expect((await rollBack(revOf(made))).status).toBe(200);
    expect((await admin.call('GET', `/key/info?key=${made.json.token}`)).status).toBe(404);
    const { token } = await makeKey();
    await post('/key/block', { key: token });
    const unblocked = revOf(await post('/key/unblock', { key: token }));
    expect((await rollBack(unblocked)).status).toBe(200);
    expect((await info(token)).blocked).toBe(true);
  });

  it('is refused for what is gone or there again, and for a creation that was changed since', async () => {
    const { token } = await makeKey({ key: 'sk-comes-again' });
    const updated = revOf(await post('/key/update', { key: token, rpm_limit: 1 }));
    const created = (await admin.call('GET', `/fleet/changes?object=${token}`)).json.changes[1].rev;
    expect((await rollBack(created)).status).toBe(409);
    const deleted = revOf(await post('/key/delete', { keys: [token] }));
    expect((await rollBack(updated)).status).toBe(409);
    await makeKey({ key: 'sk-comes-again' });
    expect((await rollBack(deleted, { confirm: true })).status).toBe(409);
    expect((await rollBack(999_999)).status).toBe(404);
  });

  it('can itself be rolled back', async () => {
    const { token } = await makeKey({ models: ['a'] });
    const rev = revOf(await post('/key/update', { key: token, models: ['b'] }));
    const undone = revOf(await rollBack(rev, { confirm: true }));
    expect((await rollBack(undone, { confirm: true })).status).toBe(200);
    expect((await info(token)).models).toEqual(['b']);
  });

  it('works for models, which are validated as when they are written', async () => {
    const make = await post('/model/new', {
      model_name: 'm',
      litellm_params: { model: 'fake/one', api_key: 'sk-hidden-secret' },
    });
    expect(make.status).toBe(200);
    const id = make.json.model_info.id ?? make.json.model_id;
    const rev = revOf(
      await post('/model/update', { model_name: 'renamed', litellm_params: { model: 'fake/two' }, model_info: { id } }),
    );
    const { status, json } = await rollBack(rev);
    expect([status, json.differences?.map((one: { field: string }) => one.field).sort()]).toEqual([
      200,
      ['litellm_params.model', 'model_name'],
    ]);
    const stored = await admin.db.read((tx) =>
      sql<{
        model_name: string;
        litellm_params: object;
      }>`select model_name, litellm_params from claviger.model where model_id = ${id}`.execute(tx),
    );
    expect(stored.rows[0]).toMatchObject({ model_name: 'm', litellm_params: { model: 'fake/one' } });
    const deleted = revOf(await post('/model/delete', { id }));
    expect((await rollBack(deleted)).status).toBe(200);
    expect(JSON.stringify(await change(revOf(make)))).not.toContain('hidden-secret');
  });
});
