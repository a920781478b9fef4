/**
 * What a million keys cost: memory, start from disk, look-ups, and changes while a snapshot is merged.
 *
 *   node --import tsx bench/micro/principal-store.ts [--keys 1000000] [--seconds 30]
 *
 * One process makes the keys and the file; another one starts from it, so that it holds nothing else. The built program is used where it is
 * there (`npm run build`), for the thread that merges.
 */
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Change, Position } from '../../src/domain/change.ts';
import type { KeyDigest, Principal } from '../../src/domain/virtual-key.ts';
import { LocalSnapshots } from '../../src/gateway/live/local-snapshots.ts';
import { mergeBaseInWorker } from '../../src/gateway/live/packed/merge-base-in-worker.ts';
import { PackedPrincipalStore } from '../../src/gateway/live/packed/packed-principal-store.ts';
import { silentLog } from '../../tests/support/silent-log.ts';

const HOT_KEYS = 1_000;
const LOOK_UPS = 1_000_000;
const CHANGES_PER_SECOND = 100;
/** How often the event loop is asked how late it is. */
const SAMPLE_MS = 2;
const IDLE_MS = 3_000;

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '30' },
    from: { type: 'string' },
  },
});
const keyCount = Number(values.keys);
const seconds = Number(values.seconds);

if (values.from === undefined) await prepareAndMeasure();
else await measure(values.from);

async function prepareAndMeasure(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'claviger-micro-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const store = new PackedPrincipalStore();
  const snapshots = new LocalSnapshots({ directory, store, log: silentLog });
  const madeMs = performance.now();
  const collector = store.beginSnapshot();
  for (let index = 0; index < keyCount; index += 500) {
    const length = Math.min(500, keyCount - index);
    collector.addKeys(
      Array.from({ length }, (_, offset) => ({ principal: principalOf(index + offset), spendNano: '123456789' })),
    );
  }
  collector.commit({ installation: 'bench', epoch: 1, rev: 1 });
  const writtenMs = performance.now();
  snapshots.storeReplaced();
  await snapshots.close();
  const [name] = readdirSync(directory).filter((file) => file.endsWith('.snap'));
  row('collected from a feed', `${inSeconds(writtenMs - madeMs)} s`);
  row('written from memory', `${inSeconds(performance.now() - writtenMs)} s`);
  row('file', `${(statSync(join(directory, name!)).size / 1e6).toFixed(0)} MB`);
  const child = fork(
    fileURLToPath(import.meta.url),
    ['--from', directory, '--keys', String(keyCount), '--seconds', String(seconds)],
    { execArgv: [...process.execArgv, '--expose-gc'] },
  );
  process.exitCode = await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

async function measure(directory: string): Promise<void> {
  const [cpu] = cpus();
  row('machine', `${cpus().length} x ${cpu?.model.trim()}, Node ${process.version}`);
  const gc = (globalThis as { gc?: () => void }).gc ?? (() => {});
  gc();
  const before = process.memoryUsage();
  const store = new PackedPrincipalStore();
  const snapshots = new LocalSnapshots({
    directory,
    store,
    log: silentLog,
    framesMax: Math.max(1, Math.floor((CHANGES_PER_SECOND * seconds) / 3)),
    merge: (request) => mergeBaseInWorker(request, mergeEntry()),
  });
  const startMs = performance.now();
  snapshots.restore(null);
  row('start from disk', `${inSeconds(performance.now() - startMs)} s`);
  gc();
  const after = process.memoryUsage();
  const { keyBytes, textBytes, coldBytes } = store.sizes;
  const perKey = (bytes: number): string => (bytes / keyCount).toFixed(1);
  row('bytes per key: record and index', perKey(keyBytes));
  row('bytes per key: texts', perKey(textBytes));
  row('bytes per key: both', perKey(keyBytes + textBytes));
  row('bytes per key: cold, of a tenth of the keys', perKey(coldBytes));
  row('JavaScript heap, of all keys', `${((after.heapUsed - before.heapUsed) / 1e6).toFixed(1)} MB`);
  row('resident memory more than before', `${((after.rss - before.rss) / 1e6).toFixed(0)} MB`);
  measureLookUps(store);
  const collectMs = performance.now();
  gc();
  row('full garbage collection', `${(performance.now() - collectMs).toFixed(1)} ms`);
  await measureChanges(store, snapshots, directory);
  await snapshots.close();
}

function measureLookUps(store: PackedPrincipalStore): void {
  const digests = Array.from({ length: Math.min(keyCount, 200_000) }, (_, index) =>
    tokenOf((index * 7_919) % keyCount),
  );
  const unknown = Array.from({ length: 200_000 }, (_, index) => tokenOf(-1 - index));
  const time = (list: readonly KeyDigest[]): string => {
    let found = 0;
    for (let index = 0; index < 50_000; index += 1) if (store.key(list[index % list.length]!) !== undefined) found += 1;
    const startMs = performance.now();
    for (let index = 0; index < LOOK_UPS; index += 1) {
      if (store.key(list[index % list.length]!) !== undefined) found += 1;
    }
    if (found !== 0 && found !== LOOK_UPS + 50_000) throw new Error('a key was not found');
    return `${(((performance.now() - startMs) * 1_000) / LOOK_UPS).toFixed(2)} µs`;
  };
  row('look-up of a key in use', time(digests.slice(0, HOT_KEYS)));
  row('look-up of a key not used lately', time(digests));
  row('look-up of a key that does not exist', time(unknown));
}

/** A hundred changes a second for so many seconds, and as many keys in use; snapshots are merged meanwhile. */
async function measureChanges(
  store: PackedPrincipalStore,
  snapshots: LocalSnapshots,
  directory: string,
): Promise<void> {
  const applied: number[] = [];
  const idle = watchEventLoop();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  row('event loop late, idle: p50, p99, max', `${summary(idle())} ms`);
  const late = watchEventLoop();
  const startMs = performance.now();
  for (let count = 1; count <= CHANGES_PER_SECOND * seconds; count += 1) {
    const waitMs = startMs + (count * 1_000) / CHANGES_PER_SECOND - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const from = store.position!;
    const to: Position = { ...from, rev: from.rev + 1 };
    const changes = [changeOf(count, to.rev)];
    const beginMs = performance.now();
    store.applyDelta(to, changes);
    snapshots.appendDelta(from, to, changes);
    applied.push(performance.now() - beginMs);
    for (let index = 0; index < 20; index += 1) {
      const entry = store.key(tokenOf((count * 20 + index) % keyCount));
      if (entry !== undefined) entry.spendNano += 1_000n;
    }
  }
  await snapshots.settled();
  const lateMs = late();
  const merged = readdirSync(directory).filter((file) => file.endsWith('.snap')).length - 1;
  row('snapshots merged meanwhile', String(merged));
  row('a change, memory and disk: p50, p99, max', `${summary(applied)} ms`);
  row('event loop late meanwhile: p50, p99, max', `${summary(lateMs)} ms`);
}

/** How late a timer is, each time; the function that comes back ends it. */
function watchEventLoop(): () => number[] {
  const late: number[] = [];
  let dueMs = performance.now() + SAMPLE_MS;
  const sampler = setInterval(() => {
    const nowMs = performance.now();
    late.push(Math.max(0, nowMs - dueMs));
    dueMs = nowMs + SAMPLE_MS;
  }, SAMPLE_MS);
  return () => {
    clearInterval(sampler);
    return late;
  };
}

function changeOf(count: number, rev: number): Change {
  const index = (count * 104_729) % keyCount;
  if (count % 3 === 0) return { rev, kind: 'key', id: tokenOf(index), value: null };
  const principal = principalOf(count % 3 === 1 ? index : keyCount + count);
  return { rev, kind: 'key', id: principal.token, value: { ...principal, keyAlias: `changed-${count}` } };
}

function mergeEntry(): URL | undefined {
  const built = new URL('../../dist/gateway/live/packed/merge-base-worker.js', import.meta.url);
  return existsSync(built) ? built : new URL('../../tests/support/merge-base-worker.mjs', import.meta.url);
}

function tokenOf(index: number): KeyDigest {
  return createHash('sha256').update(`sk-${index}`).digest('hex') as KeyDigest;
}

/** As in a company with 10,000 teams of 25 people who have four keys each. */
function principalOf(index: number): Principal {
  const token = tokenOf(index);
  return {
    token,
    keyName: `sk-...${token.slice(0, 4)}`,
    keyAlias: `checkout-service-${index}`,
    expiresAtMs: null,
    blocked: false,
    models: ['gpt-4o', 'claude-sonnet', `model-${index % 50}`],
    aliases: index % 10 === 0 ? { fast: 'gpt-4o-mini' } : {},
    allowedRoutes: [],
    userId: `user-${index >> 2}@example.com`,
    teamId: `team-${Math.floor(index / 100)}`,
    organizationId: null,
    projectId: null,
    maxBudget: 100,
    rpmLimit: 600,
    tpmLimit: null,
    maxParallelRequests: null,
    tags: [],
    allowedRegions: [],
    fence: 'normal',
  };
}

function summary(samples: number[]): string {
  samples.sort((a, b) => a - b);
  return [0.5, 0.99, 1].map((part) => samples[Math.ceil(samples.length * part) - 1]!.toFixed(2)).join(', ');
}

function inSeconds(ms: number): string {
  return (ms / 1_000).toFixed(2);
}

function row(what: string, value: string): void {
  console.log(`| ${what} | ${value} |`);
}
