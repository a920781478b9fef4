import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../tests/support/eventually.ts';
import { pick } from '../../../tests/support/length.ts';
import { principalOf, recordingLog } from '../../../tests/support/principals.ts';
import { begin, finish } from '../../../tests/support/usage.ts';
import { type IngestFault, UsageLedger } from '../../../tests/support/usage-ledger.ts';
import type { Nano } from '../../domain/money.ts';
import { systemClock } from '../../util/clock.ts';
import { SocketFeedTransport } from '../live/feed-transport.ts';
import type { KeyEntry } from '../live/knowledge.ts';
import { orphanedSlots, shipOrphanedLogs } from './ship-orphaned-logs.ts';
import { KILLED_IN_FLIGHT, UsageLog, type UsageLogOptions } from './usage-log.ts';
import { BATCH_RECORDS_MAX, UsageShipper, type UsageShipperOptions } from './usage-shipper.ts';

const GATEWAY = 'instance/0';
const TOKEN = 'a'.repeat(64);

let root: string;
let ledger: UsageLedger;
let transport: SocketFeedTransport;
let running: { log: UsageLog; shipper: UsageShipper }[];
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'shipper-'));
  ledger = new UsageLedger();
  await ledger.listen(join(root, 'feed.sock'));
  transport = new SocketFeedTransport(join(root, 'feed.sock'));
  running = [];
});
afterEach(async () => {
  for (const { log, shipper } of running) {
    await shipper.stop();
    await log.close();
  }
  transport.close();
  await ledger.close();
  rmSync(root, { recursive: true, force: true });
});

const recorded = recordingLog();

interface StartOptions {
  readonly directory?: string;
  readonly log?: Partial<UsageLogOptions>;
  readonly shipper?: Partial<UsageShipperOptions>;
}

function start({ directory = 'gateway-0', log: logOptions, shipper: shipperOptions }: StartOptions = {}) {
  const log = new UsageLog({
    directory: join(root, directory),
    installation: 'installation',
    clock: systemClock,
    log: recorded.log,
    ...logOptions,
  });
  const entry: KeyEntry = { principal: principalOf('a'), spendNano: 0n, series: null };
  const shipper = new UsageShipper({
    usageLog: log,
    transport,
    gatewayId: GATEWAY,
    region: 'eu',
    keyEntry: (token) => (token === TOKEN ? entry : undefined),
    clock: systemClock,
    random: () => 0.5,
    log: recorded.log,
    batchDelayMaxMs: 10,
    timeoutMs: 2_000,
    backOffMinMs: 2,
    backOffMaxMs: 10,
    ...shipperOptions,
  });
  running.push({ log, shipper });
  shipper.run();
  return { log, shipper, entry };
}

/** Ends like a process that is killed: what is in the files stays, nothing else happens. */
async function leave({ log, shipper }: { log: UsageLog; shipper: UsageShipper }): Promise<void> {
  running = running.filter((each) => each.shipper !== shipper);
  await shipper.stop();
  await log.close();
}

async function call(log: UsageLog, id: string, costNano = 100): Promise<void> {
  await begin(log, id);
  await finish(log, id, { costNano: costNano as Nano });
}

describe('UsageShipper', () => {
  it('delivers every settlement with its intent, in one batch for those that come together', async () => {
    const { log, shipper } = start();
    for (let index = 0; index < 20; index += 1) await begin(log, `r${index}`);
    await Promise.all(Array.from({ length: 20 }, (_, index) => finish(log, `r${index}`)));
    await eventually(() => shipper.isDone);
    expect(ledger.rows.size).toBe(20);
    expect(ledger.batches.filter(({ records }) => records.length > 0)).toHaveLength(1);
    expect(ledger.rows.get('r3')).toMatchObject({ seq: 24, teamId: 'team', costNano: 123, provider: 'openai' });
    expect(ledger.batches[0]).toMatchObject({ installation: 'installation', gatewayId: GATEWAY, region: 'eu' });
    expect([shipper.backlogRecords, shipper.oldestUnshippedAgeMs]).toEqual([0, 0]);
  });

  it('waits for company no longer than it says, and not at all for a full batch', async () => {
    const { log, shipper } = start({ shipper: { batchDelayMaxMs: 200 } });
    const startMs = performance.now();
    await call(log, 'alone');
    await eventually(() => shipper.isDone);
    expect(performance.now() - startMs).toBeGreaterThan(150);
    for (let index = 0; index < BATCH_RECORDS_MAX; index += 1) await begin(log, `r${index}`);
    const fullMs = performance.now();
    await Promise.all(Array.from({ length: BATCH_RECORDS_MAX }, (_, index) => finish(log, `r${index}`)));
    await eventually(() => shipper.isDone);
    expect(ledger.rows.size).toBe(BATCH_RECORDS_MAX + 1);
    expect(performance.now() - fullMs).toBeLessThan(5_000);
    expect(Math.max(...ledger.batches.map(({ records }) => records.length))).toBe(BATCH_RECORDS_MAX);
  });

  it('sends nothing before it is known whose database it is', async () => {
    const { log, shipper } = start({ log: { installation: null } });
    await call(log, 'a');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(ledger.batches).toEqual([]);
    expect(shipper.backlogRecords).toBe(1);
    log.bindInstallation('installation');
    await eventually(() => shipper.isDone);
    expect(ledger.rows.size).toBe(1);
  });

  it('asks after a restart where the database stands, and goes on from there', async () => {
    const first = start();
    await call(first.log, 'a');
    await eventually(() => first.shipper.isDone);
    ledger.fault = () => 'refused';
    await call(first.log, 'b');
    await begin(first.log, 'c');
    await leave(first);
    ledger.fault = () => 'none';
    const batches = ledger.batches.length;
    const second = start();
    await eventually(() => second.shipper.isDone);
    expect([...ledger.rows.keys()]).toEqual(['a', 'b', 'c']);
    expect(ledger.rows.get('c')).toMatchObject({ errorCode: KILLED_IN_FLIGHT, costNano: 500, estimated: true });
    expect(ledger.batches[batches]).toMatchObject({ from: 0, to: 0, records: [] });
    expect(ledger.duplicates).toBe(0);
  });

  it('sends a batch again whose answer was lost, and it counts once', async () => {
    const { log, shipper } = start();
    const faults: IngestFault[] = ['no-answer', 'lost', 'no-answer', 'refused'];
    ledger.fault = () => faults.shift() ?? 'none';
    for (let index = 0; index < 5; index += 1) {
      await call(log, `r${index}`);
      await eventually(() => shipper.isDone);
    }
    expect(ledger.rows.size).toBe(5);
    expect(ledger.duplicates).toBe(0);
    expect(ledger.cursorOf(GATEWAY, log.identity.incarnation)).toBe(10);
  });

  it('shows as spend of a key what the database says and what is not delivered yet', async () => {
    const { log, shipper, entry } = start();
    ledger.ingest({
      installation: 'installation',
      gatewayId: 'other/0',
      region: 'us',
      incarnation: 'x',
      from: 0,
      to: 1,
      records: [{ ...(await recordOf(log)), requestId: 'elsewhere', seq: 1, costNano: 5_000 as Nano }],
    });
    // The request path adds what a call costs; the reply of the database replaces the sum.
    entry.spendNano += 100n;
    await call(log, 'a');
    await eventually(() => shipper.isDone);
    expect(entry.spendNano).toBe(5_223n);
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    ledger.fault = () => 'none';
    const ingest = ledger.ingest.bind(ledger);
    await call(log, 'b', 10);
    ledger.ingest = (batch) => {
      release();
      return ingest(batch);
    };
    await held;
    // Settled while the batch with `b` is on its way.
    await call(log, 'c', 7);
    await eventually(() => entry.spendNano === 5_240n);
    await eventually(() => shipper.isDone);
    expect(entry.spendNano).toBe(5_240n);
  });

  it('keeps a bounded part of a backlog in memory and reads the rest from the files', async () => {
    const { log, shipper } = start({ shipper: { recordsQueuedMax: 50 }, log: { segmentBytesMax: 20_000 } });
    ledger.fault = () => 'refused';
    for (let index = 0; index < 180; index += 1) {
      await call(log, `r${index}`);
      if (index === 90) ledger.fault = () => 'lost';
    }
    expect(shipper.backlogRecords).toBeGreaterThan(150);
    expect(shipper.oldestUnshippedAgeMs).toBeGreaterThan(0);
    ledger.fault = () => 'none';
    const during = Array.from({ length: 30 }, (_, index) => call(log, `late${index}`));
    await Promise.all(during);
    await eventually(() => shipper.isDone);
    expect(ledger.rows.size).toBe(210);
    expect(ledger.duplicates).toBe(0);
    expect(shipper.backlogRecords).toBe(0);
  });

  it('sends again what a database lost that was put back to an earlier state', async () => {
    const { log, shipper } = start();
    for (let index = 0; index < 10; index += 1) await call(log, `r${index}`);
    await eventually(() => shipper.isDone);
    const key = `${GATEWAY} ${log.identity.incarnation}`;
    ledger.cursors.set(key, 8);
    for (const id of ['r4', 'r5', 'r6', 'r7', 'r8', 'r9']) ledger.rows.delete(id);
    await call(log, 'new');
    await eventually(() => shipper.isDone && ledger.rows.has('new'));
    expect(ledger.rows.size).toBe(11);
    expect(ledger.cursors.get(key)).toBe(log.lastSeq);
  });

  it('goes on as a new incarnation when the database has frames that the disk lost', async () => {
    const first = start();
    await call(first.log, 'a');
    await eventually(() => first.shipper.isDone);
    await leave(first);
    const copy = join(root, 'before');
    cpSync(join(root, 'gateway-0'), copy, { recursive: true });
    const second = start();
    await call(second.log, 'b');
    await call(second.log, 'c');
    await eventually(() => second.shipper.isDone);
    await leave(second);
    // A power failure: the files are as they were, the database is not.
    rmSync(join(root, 'gateway-0'), { recursive: true });
    cpSync(copy, join(root, 'gateway-0'), { recursive: true });
    const third = start();
    await call(third.log, 'd');
    await call(third.log, 'e');
    await eventually(() => third.shipper.isDone);
    expect([...ledger.rows.keys()].sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(third.log.identity.incarnation).not.toBe(first.log.identity.incarnation);
    expect(recorded.text()).toContain('goes on as a new incarnation');
  });

  it('loses nothing when two processes have a copy of the same files', async () => {
    const first = start();
    await call(first.log, 'a');
    await eventually(() => first.shipper.isDone);
    await leave(first);
    cpSync(join(root, 'gateway-0'), join(root, 'copied'), { recursive: true });
    const one = start();
    const other = start({ directory: 'copied' });
    for (let index = 0; index < 5; index += 1) {
      await call(one.log, `one${index}`);
      await eventually(() => one.shipper.isDone);
      await call(other.log, `other${index}`);
      await eventually(() => other.shipper.isDone);
    }
    expect(ledger.rows.size).toBe(11);
    expect(one.log.identity.incarnation).not.toBe(other.log.identity.incarnation);
  });

  it('leaves out a record that is refused for itself, and delivers the others', async () => {
    const { log, shipper } = start();
    ledger.status = ({ records }) => (records.some(({ requestId }) => requestId === 'r5') ? 400 : 200);
    for (let index = 0; index < 12; index += 1) await begin(log, `r${index}`);
    await Promise.all(Array.from({ length: 12 }, (_, index) => finish(log, `r${index}`)));
    await eventually(() => shipper.isDone);
    expect(ledger.rows.size).toBe(11);
    expect(ledger.rows.has('r5')).toBe(false);
    expect(recorded.text()).toContain('"requestId":"r5"');
  });

  it('drains what is there, or says that it could not within the time', async () => {
    const first = start({ shipper: { batchDelayMaxMs: 60_000 } });
    await call(first.log, 'a');
    expect(await first.shipper.drain(5_000)).toBe(true);
    expect(ledger.rows.size).toBe(1);
    await leave(first);
    const second = start();
    ledger.fault = () => 'refused';
    await call(second.log, 'b');
    const startMs = performance.now();
    expect(await second.shipper.drain(60)).toBe(false);
    expect(performance.now() - startMs).toBeLessThan(2_000);
  });

  it('delivers each settlement once, whatever fails and whenever the process ends', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant('call') },
      { weight: 2, arbitrary: fc.constant('begin') },
      { weight: 1, arbitrary: fc.constant('restart') },
      { weight: 1, arbitrary: fc.constant('wait') },
    );
    const fault = fc.constantFrom<IngestFault>('none', 'none', 'lost', 'no-answer', 'refused');
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.infiniteStream(fault), async (steps, faults) => {
        run += 1;
        const options: StartOptions = {
          directory: `run-${run}`,
          log: { segmentBytesMax: 3_000 },
          shipper: { recordsQueuedMax: 7, batchDelayMaxMs: 1, gatewayId: `run/${run}` },
        };
        ledger.rows.clear();
        ledger.fault = () => faults.next().value as IngestFault;
        let gateway = start(options);
        const expected = new Map<string, number>();
        let count = 0;
        for (const each of steps) {
          const id = `r${count++}`;
          if (each === 'call') {
            await call(gateway.log, id, count);
            expected.set(id, count);
          } else if (each === 'begin') {
            await begin(gateway.log, id, { estimateNano: 1_000_000 as Nano });
            expected.set(id, 1_000_000);
          } else if (each === 'wait') await new Promise((resolve) => setTimeout(resolve, 2));
          else {
            await leave(gateway);
            gateway = start(options);
          }
        }
        // What is in flight is settled by the next start.
        await leave(gateway);
        gateway = start(options);
        ledger.fault = () => 'none';
        await eventually(() => gateway.shipper.isDone);
        const { lastSeq, identity } = gateway.log;
        const delivered = new Map(
          [...ledger.rows.values()].map(({ requestId, costNano }) => [requestId, Number(costNano)]),
        );
        expect(delivered).toEqual(expected);
        expect(ledger.duplicates).toBe(0);
        expect(ledger.cursorOf(`run/${run}`, identity.incarnation)).toBe(lastSeq);
        await leave(gateway);
      }),
      { numRuns: pick(15, 300) },
    );
    expect(ledger.violations).toEqual([]);
  }, 240_000);
});

describe('shipOrphanedLogs', () => {
  const options = (signal = new AbortController().signal) => ({
    dataDir: root,
    hasProcess: (slot: number) => slot < 1,
    instanceId: 'instance',
    region: 'eu',
    installation: 'installation',
    transport,
    keyEntry: () => undefined,
    clock: systemClock,
    random: () => 0.5,
    log: recorded.log,
    signal,
  });

  async function leftBehind(slot: number, installation = 'installation'): Promise<void> {
    const log = new UsageLog({
      directory: join(root, `gateway-${slot}`),
      installation,
      clock: systemClock,
      log: recorded.log,
    });
    await call(log, `settled-${slot}`);
    await begin(log, `open-${slot}`);
    await log.close();
  }

  it('delivers the logs of slots without a process, with what was in flight, and leaves the others alone', async () => {
    for (const slot of [0, 1, 3]) await leftBehind(slot);
    expect(orphanedSlots(root, (slot) => slot < 1)).toEqual([1, 3]);
    expect(await shipOrphanedLogs(options())).toEqual([1, 3]);
    expect([...ledger.rows.keys()]).toEqual(['settled-1', 'open-1', 'settled-3', 'open-3']);
    expect(ledger.batches.map(({ gatewayId }) => gatewayId)).toContain('instance/3');
    // Once more, at the next start: nothing is left to do, and nothing is done twice.
    expect(await shipOrphanedLogs(options())).toEqual([1, 3]);
    expect([ledger.rows.size, ledger.duplicates]).toEqual([4, 0]);
  });

  it('goes on past the log of another installation', async () => {
    await leftBehind(1, 'another');
    await leftBehind(2);
    expect(await shipOrphanedLogs(options())).toEqual([2]);
    expect([...ledger.rows.keys()]).toEqual(['settled-2', 'open-2']);
    expect(recorded.text()).toMatch(/another.*can not be shipped|can not be shipped.*another/);
  });

  it('ends when its process does', async () => {
    await leftBehind(1);
    ledger.fault = () => 'refused';
    const leaving = new AbortController();
    const shipping = shipOrphanedLogs(options(leaving.signal));
    await eventually(() => recorded.text().includes('Usage could not be delivered'));
    leaving.abort();
    expect(await shipping).toEqual([]);
  });
});

async function recordOf(log: UsageLog) {
  await call(log, 'template', 123);
  await eventually(() => ledger.rows.has('template'));
  return ledger.rows.get('template')!;
}
