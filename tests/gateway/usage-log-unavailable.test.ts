import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeUsageLogFs, type UsageLogFs } from '../../src/gateway/metering/usage-log-fs.ts';
import { startCall } from '../support/fake-client.ts';
import { type GatewayHarness, KEY, MASTER_KEY, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { until } from '../support/until.ts';
import { expectError } from './envelope.ts';
import {
  beginStream,
  COMPLETION,
  chunk,
  DONE,
  type FaultUpstream,
  sendJson,
  startFaultUpstream,
  USAGE_CHUNK,
} from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

const CHAT = { model: 'gpt', messages: [{ role: 'user', content: 'hello' }] };

/** A disk that fails on command. */
class Disk implements UsageLogFs {
  openSync = nodeUsageLogFs.openSync;
  ftruncateSync = nodeUsageLogFs.ftruncateSync;
  closeSync = nodeUsageLogFs.closeSync;
  renameSync = nodeUsageLogFs.renameSync;
  unlinkSync = nodeUsageLogFs.unlinkSync;
  fsync = nodeUsageLogFs.fsync;
  /** Thrown by each write, after half of it is in the file: a full disk takes what it still can. */
  writeFailure: string | null = null;
  syncFailure: string | null = null;
  openFailure: string | null = null;

  constructor() {
    this.openSync = (path, flags, mode) => {
      if (this.openFailure !== null) throw errorOf(this.openFailure);
      return nodeUsageLogFs.openSync(path, flags, mode);
    };
  }

  writeSync(fd: number, bytes: Buffer, offset: number, length: number, position: number): number {
    if (this.writeFailure === null) return nodeUsageLogFs.writeSync(fd, bytes, offset, length, position);
    nodeUsageLogFs.writeSync(fd, bytes, offset, length >> 1, position);
    throw errorOf(this.writeFailure);
  }

  fdatasync(fd: number, done: (error: Error | null) => void): void {
    if (this.syncFailure === null) nodeUsageLogFs.fdatasync(fd, done);
    else setImmediate(done, errorOf(this.syncFailure));
  }
}

function errorOf(code: string): Error {
  return Object.assign(new Error(`${code}: the disk of this test fails`), { code });
}

describe('when the usage log can not be written', () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  let disk: Disk;
  beforeEach(async () => {
    disk = new Disk();
    upstream = await startFaultUpstream();
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    gateway = await startGateway({
      models: [modelEntry('gpt', { model: 'openai/gpt', api_base: `${upstream.url}/v1`, api_key: 'sk-up' })],
      usageLogFs: disk,
      usageLogRetryMs: 30,
    });
  });
  afterEach(async () => {
    await gateway.stop();
    await upstream.stop();
  });
  const served = () =>
    until('calls are let in again', async () => ((await gateway.call(CHAT)).status === 200 ? true : null));

  it.each(['ENOSPC', 'EIO', 'EDQUOT', 'EROFS'])(
    'a call is 503 and not sent to the provider, until it can be (%s)',
    async (code) => {
      expect((await gateway.call(CHAT)).status).toBe(200);
      disk.writeFailure = code;
      upstream.answer((call) => sendJson(call, 200, COMPLETION));
      for (const stream of [false, true]) {
        const answers = await Promise.all(
          [KEY, MASTER_KEY, KEY].map((key) => gateway.call({ ...CHAT, stream }, { key })),
        );
        for (const answer of answers) {
          expectError(answer, 'usage_log_unavailable');
          expect(answer.text).not.toContain(code);
        }
      }
      expect(upstream.calls).toEqual([]);
      expect(gateway.access().filter(({ errorCode }) => errorCode === 'usage_log_unavailable')).toHaveLength(6);

      disk.writeFailure = null;
      await served();
      const { settled, open } = gateway.usage();
      expect({ settled: settled.length, open: open.length }).toEqual({ settled: 2, open: 0 });
    },
  );

  it('also when it could not even be begun', async () => {
    disk.openFailure = 'EACCES';
    expectError(await gateway.call(CHAT), 'usage_log_unavailable');
    expect(upstream.calls).toEqual([]);
    disk.openFailure = null;
    await served();
  });

  it('a call that was let in is answered, and its settlement is written once when it can be', async () => {
    upstream.answer((call) => {
      disk.writeFailure = 'ENOSPC';
      sendJson(call, 200, COMPLETION);
    });
    const answer = await gateway.call(CHAT);
    expect(answer.json()).toEqual(COMPLETION);
    expect(gateway.usage().settled).toEqual([]);
    disk.writeFailure = null;
    const settled = await gateway.settled(1);
    expect(settled).toHaveLength(1);
    expect(settled[0]).toMatchObject({ status: 'success', usage: { promptTokens: 11, completionTokens: 7 } });
  });

  it('a stream that was let in goes on to its end, and so does the news that a client has left', async () => {
    upstream.answer((call) => beginStream(call, chunk('a')));
    const stays = startCall({ url: gateway.url, key: KEY, body: { ...CHAT, stream: true } });
    const leaves = startCall({ url: gateway.url, key: KEY, body: { ...CHAT, stream: true } });
    await Promise.all([stays.read(1), leaves.read(1)]);
    disk.writeFailure = 'ENOSPC';
    leaves.leave();
    const gone = await Promise.race([0, 1].map(async (index) => (await upstream.call(index)).closed.then(() => index)));
    const call = await upstream.call(1 - gone);
    call.response.end(chunk('b', 'stop') + USAGE_CHUNK + DONE);
    expect(await stays.end).toBe('complete');
    expect(stays.text()).toBe(chunk('a') + chunk('b', 'stop') + DONE);
    disk.writeFailure = null;
    const settled = await gateway.settled(2);
    expect(settled.map(({ httpStatus }) => httpStatus).sort()).toEqual([200, 499]);
  });

  it('calls are let in again after a failed sync only when all is on disk', async () => {
    expect((await gateway.call(CHAT)).status).toBe(200);
    disk.syncFailure = 'EIO';
    await until('a sync has failed', async () => ((await gateway.call(CHAT)).status === 503 ? true : null));
    disk.syncFailure = null;
    await served();
    const { settled, open } = gateway.usage();
    expect(open).toEqual([]);
    expect(new Set(settled.map(({ requestId }) => requestId)).size).toBe(settled.length);
    expect(settled.length).toBe(gateway.access().filter(({ status }) => status === 200).length);
  });
});
