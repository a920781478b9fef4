import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkControlPlane } from './check-control-plane.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'claviger-doctor-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const answering =
  (status: number, body = '{}') =>
  async () =>
    new Response(body, { status });
const look = (fetchAnswer: typeof fetch, joinToken: string | null = null) =>
  checkControlPlane({ controlPlaneUrls: ['https://admin.example'], dataDir, joinToken }, fetchAnswer);

describe('the doctor of a joined worker', () => {
  it('tells whether it has joined, can join, or needs a token', async () => {
    const admin = answering(401, '{"error":"signed","code":"unsigned"}');
    expect((await look(admin))[0]).toMatchObject({ status: 'fail', todo: expect.stringContaining('fleet token') });
    expect((await look(admin, 'cjt-x'))[0]).toMatchObject({ status: 'ok' });
    mkdirSync(join(dataDir, 'identity'));
    writeFileSync(join(dataDir, 'identity', 'identity.json'), '{}');
    expect((await look(admin))[0]).toMatchObject({ status: 'ok', message: 'this worker has joined' });
  });

  it.each([
    ['an admin', answering(401, '{"error":"signed","code":"unsigned"}'), 'ok'],
    ['a worker, which takes none', answering(401), 'fail'],
    ['something else', answering(404), 'fail'],
    ['a balancer without an admin', answering(502), 'warn'],
    ['nobody', () => Promise.reject(new Error('fetch failed', { cause: new Error('connect ECONNREFUSED') })), 'warn'],
  ])('tells what answers at its address: %s', async (_what, fetchAnswer, status) => {
    const [, address] = await look(fetchAnswer);
    expect(address).toMatchObject({ name: 'control plane', status });
    expect(address!.message).toContain('https://admin.example');
  });
});
