import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { accountChange, accountOf } from '../../../tests/support/accounts.ts';
import { eventually } from '../../../tests/support/eventually.ts';
import { pick } from '../../../tests/support/length.ts';
import {
  at,
  FLEET_KEY,
  INSTALLATION,
  keyChange,
  keyDeleted,
  principalOf,
  recordingLog,
  stateOf,
  tokenOf,
} from '../../../tests/support/principals.ts';
import type { Change, Position } from '../../domain/change.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import { encodeDownFrame } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import { type DeltaLogFs, nodeDeltaLogFs } from './delta-log.ts';
import { ForeignInstallationError } from './foreign-installation.ts';
import { DELTA_FILES_MAX, LocalSnapshots, SNAPSHOTS_KEPT } from './local-snapshots.ts';
import { type MergeRequest, mergeBase } from './packed/merge-base.ts';
import { mergeBaseInWorker } from './packed/merge-base-in-worker.ts';
import { PackedPrincipalStore } from './packed/packed-principal-store.ts';
import { MapPrincipalStore, type PrincipalStore } from './principal-store.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'snapshots-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe.each([
  ['MapPrincipalStore', () => new MapPrincipalStore()],
  ['PackedPrincipalStore', () => new PackedPrincipalStore()],
])('with a %s', (_name, emptyStore: () => PrincipalStore) => {
  type Fields = Partial<ConstructorParameters<typeof LocalSnapshots>[0]>;

  class Gateway {
    readonly store = emptyStore();
    readonly recorded = recordingLog();
    readonly snapshots: LocalSnapshots;
    readonly persisted: Position[] = [];

    constructor(fields: Fields = {}) {
      this.snapshots = new LocalSnapshots({
        directory,
        store: this.store,
        log: this.recorded.log,
        // As in the thread of its own, without the start of it.
        merge: mergeBase,
        ...fields,
      });
      this.snapshots.onPersisted = (position) => this.persisted.push(position);
    }

    /** What a snapshot from the feed does. */
    replace(position: Position, names: readonly (string | number)[]): void {
      const snapshot = this.store.beginSnapshot();
      snapshot.addKeys(names.map((name) => ({ principal: principalOf(name), spendNano: '12345678901234567890' })));
      snapshot.addDeletedKeys(['d'.repeat(64)]);
      snapshot.addSettings({ fleet_key: FLEET_KEY });
      snapshot.commit(position);
      this.snapshots.storeReplaced();
    }

    change(...changes: Change[]): void {
      const from = this.store.position!;
      const to = { ...from, rev: changes.at(-1)!.rev };
      this.store.applyDelta(to, changes);
      this.snapshots.appendDelta(from, to, changes);
    }

    get state() {
      return stateOf(this.store);
    }
  }

  function reboot(fields: Fields = {}, installation: string | null = INSTALLATION): Gateway {
    const gateway = new Gateway(fields);
    gateway.snapshots.restore(installation);
    return gateway;
  }

  const snapshotNames = (): string[] =>
    readdirSync(directory)
      .filter((name) => name.endsWith('.snap'))
      .sort();
  const deltaNames = (): string[] =>
    readdirSync(directory)
      .filter((name) => name.startsWith('delta-'))
      .sort();

  describe('LocalSnapshots', () => {
    it('has nothing in an empty directory', () => {
      expect(reboot().store.position).toBeNull();
    });

    it('boots into exactly what was there, snapshot and deltas', async () => {
      const first = new Gateway();
      first.replace(
        at(10),
        Array.from({ length: 1_203 }, (_, index) => index),
      );
      await first.snapshots.settled();
      first.change(keyChange(11, 'new'), keyDeleted(12, 5));
      first.change({ rev: 13, kind: 'setting', id: 'x', value: { y: [1] } });
      const second = reboot();
      expect(second.state).toEqual(first.state);
      expect(second.store.position).toEqual(at(13));
      expect(second.store.fleetKey).toEqual(first.store.fleetKey);
    });

    it('reports a snapshot from the feed as persisted only when its file is complete', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      gateway.change(keyChange(11, 'b'));
      expect(gateway.persisted).toEqual([]);
      await gateway.snapshots.settled();
      expect(gateway.persisted).toEqual([at(11)]);
      expect(reboot().state).toEqual(gateway.state);
      gateway.change(keyChange(12, 'c'));
      expect(gateway.persisted).toEqual([at(11), at(12)]);
    });

    it('writes files that only their owner can read', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      gateway.change(keyChange(11, 'b'));
      const modes = readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777);
      expect(modes).toEqual([0o600, 0o600]);
    });

    it('sets a damaged snapshot aside and boots from the one before, with every delta since', async () => {
      const gateway = new Gateway({ framesMax: 3 });
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      for (let rev = 11; rev <= 14; rev += 1) gateway.change(keyChange(rev, rev));
      await gateway.snapshots.settled();
      expect(snapshotNames()).toHaveLength(2);
      const newest = join(directory, snapshotNames().at(-1)!);
      writeFileSync(newest, readFileSync(newest).subarray(0, -1));
      const second = reboot();
      expect(second.state).toEqual(gateway.state);
      expect(readdirSync(directory)).toContain(`${newest.slice(directory.length + 1)}.bad`);
      expect(second.recorded.text()).toContain('is damaged');
    });

    it('begins again with nothing when every snapshot is damaged', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      writeFileSync(join(directory, snapshotNames()[0]!), 'nonsense');
      expect(reboot().store.position).toBeNull();
    });

    it('refuses the snapshot of another installation with both names', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      const boot = (): unknown => reboot({}, 'another-installation');
      expect(boot).toThrow(ForeignInstallationError);
      expect(boot).toThrow(new RegExp(`${INSTALLATION}.*another-installation`));
      expect(snapshotNames()).toHaveLength(1);
    });

    it('leaves the snapshot of a newer version alone and uses the one before', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      const name = snapshotNames()[0]!;
      const newer = name.replace('0010.snap', '0099.snap');
      writeFileSync(join(directory, newer), asFormat(readFileSync(join(directory, name)), 4));
      const second = reboot();
      expect(second.state).toEqual(gateway.state);
      expect(snapshotNames()).toEqual([name, newer]);
    });

    it('writes a new snapshot after so many deltas and keeps three, with the logs that lead on from them', async () => {
      const gateway = new Gateway({ framesMax: 5 });
      gateway.replace(at(0), ['a']);
      await gateway.snapshots.settled();
      for (let rev = 1; rev <= 42; rev += 1) {
        gateway.change(keyChange(rev, rev % 7));
        if (rev % 5 === 0) await gateway.snapshots.settled();
      }
      await gateway.snapshots.close();
      expect(snapshotNames()).toHaveLength(SNAPSHOTS_KEPT);
      expect(deltaNames().length).toBeLessThanOrEqual(4);
      expect(reboot().state).toEqual(gateway.state);
      expect(gateway.persisted.at(-1)).toEqual(at(42));
    });

    it('merges new snapshots from the files, and never asks the store for what it holds', async () => {
      const requests: MergeRequest[] = [];
      const merge = (request: MergeRequest): Promise<void> => {
        requests.push(request);
        return mergeBase(request);
      };
      const gateway = new Gateway({ framesMax: 4, merge, region: 'eu' });
      gateway.replace(at(0), ['a', 'b']);
      await gateway.snapshots.settled();
      gateway.store.contents = () => {
        throw new Error('the store was asked');
      };
      for (let rev = 1; rev <= 9; rev += 1) {
        gateway.change(rev % 3 === 0 ? keyDeleted(rev, rev - 1) : keyChange(rev, rev));
        await gateway.snapshots.settled();
      }
      expect(requests).toEqual([
        { directory, from: at(0), to: at(4), region: 'eu' },
        { directory, from: at(4), to: at(8), region: 'eu' },
      ]);
      expect(snapshotNames()).toHaveLength(3);
      const [booted, without] = [reboot(), reboot()];
      expect(booted.store.position).toEqual(at(9));
      expect([booted.store.setHash, booted.store.keyCount]).toEqual([gateway.store.setHash, gateway.store.keyCount]);
      expect(booted.state).toEqual(without.state);
    });

    it('merges in a thread of its own', async () => {
      const entry = new URL('../../../tests/support/merge-base-worker.mjs', import.meta.url);
      const gateway = new Gateway({
        framesMax: 3,
        merge: (request) => mergeBaseInWorker(request, entry),
      });
      gateway.replace(at(0), ['a', 'b']);
      await gateway.snapshots.settled();
      for (let rev = 1; rev <= 4; rev += 1) gateway.change(keyChange(rev, rev));
      await gateway.snapshots.settled();
      expect(gateway.recorded.text()).toBe('');
      expect(snapshotNames()).toHaveLength(2);
      expect(reboot().state).toEqual(gateway.state);
    });

    it('writes a snapshot from memory where it can not be merged, and reports nothing meanwhile', async () => {
      const gateway = new Gateway({ framesMax: 2, merge: () => Promise.reject(new Error('no thread')) });
      gateway.replace(at(0), ['a']);
      await gateway.snapshots.settled();
      gateway.change(keyChange(1, 'b'));
      gateway.change(keyChange(2, 'c'));
      await gateway.snapshots.settled();
      expect(gateway.recorded.text()).toContain('could not be merged');
      expect(gateway.persisted.at(-1)).toEqual(at(2));
      expect(snapshotNames()).toHaveLength(2);
      expect(reboot().state).toEqual(gateway.state);
    });

    it('does not merge across a gap in the files', async () => {
      const gateway = new Gateway({ framesMax: 4 });
      gateway.replace(at(0), ['a']);
      await gateway.snapshots.settled();
      for (let rev = 1; rev <= 3; rev += 1) gateway.change(keyChange(rev, rev));
      const log = join(directory, deltaNames()[0]!);
      writeFileSync(log, readFileSync(log).subarray(0, -3));
      gateway.change(keyChange(4, 4));
      await gateway.snapshots.settled();
      expect(gateway.recorded.text()).toContain('from revision 0 to 2, not to 4');
      expect(reboot().state).toEqual(gateway.state);
    });

    it('starts with the accounts that it had, from the snapshot, the deltas and a merge of both', async () => {
      const gateway = new Gateway({ framesMax: 4 });
      const collector = gateway.store.beginSnapshot();
      collector.addAccounts([accountOf('team', 'x', { blocked: true }), accountOf('user', 'y', { models: ['ä\n'] })]);
      collector.commit(at(0));
      gateway.snapshots.storeReplaced();
      await gateway.snapshots.settled();
      expect(reboot().state).toEqual(gateway.state);
      gateway.change(accountChange(1, 'team', 'x'));
      gateway.change(accountChange(2, 'customer', 'z', { blocked: true }));
      expect(reboot().state).toEqual(gateway.state);
      gateway.change(accountChange(3, 'user', 'y', null));
      gateway.change(keyChange(4, 'k', { budgetId: 'b' }));
      await gateway.snapshots.settled();
      expect(snapshotNames()).toHaveLength(2);
      const next = reboot();
      expect(next.state).toEqual(gateway.state);
      expect(next.store.account('customer', 'z')?.blocked).toBe(true);
      expect(next.snapshots.isPartial).toBe(false);
    });

    it('says of a file that an earlier version wrote that a whole snapshot is wanted', () => {
      writeFileSync(join(directory, 'snapshot-0000000001-0000000000000012.snap'), lineSnapshot(2, at(12)));
      expect(reboot().snapshots.isPartial).toBe(true);
    });

    it('reads the lines of formats 1 and 2', () => {
      for (const format of [1, 2]) {
        const path = join(directory, `snapshot-0000000001-000000000000001${format}.snap`);
        writeFileSync(path, lineSnapshot(format, at(10 + format)));
        const { store } = reboot();
        expect(store.position).toEqual(at(10 + format));
        expect(store.keyCount).toBe(2);
        expect(store.key(tokenOf('b'))).toMatchObject({ spendNano: 7n, principal: principalOf('b') });
        expect(store.isDeleted(tokenOf('c'))).toBe(true);
        expect(store.fleetKey).not.toBeNull();
        expect(store.models.size).toBe(format - 1);
      }
    });

    it('writes a new snapshot after so many bytes of deltas', async () => {
      const gateway = new Gateway({ bytesMax: 2_000 });
      gateway.replace(at(0), ['a']);
      await gateway.snapshots.settled();
      for (let rev = 1; rev <= 6; rev += 1) gateway.change(keyChange(rev, rev));
      await gateway.snapshots.settled();
      expect(snapshotNames()).toHaveLength(2);
    });

    it('writes a new snapshot after so many starts', async () => {
      const first = new Gateway();
      first.replace(at(0), ['a']);
      await first.snapshots.close();
      for (let rev = 1; rev <= 120; rev += 1) {
        const gateway = reboot();
        expect(gateway.store.position).toEqual(at(rev - 1));
        gateway.change(keyChange(rev, rev));
        await gateway.snapshots.close();
      }
      expect(deltaNames().length).toBeLessThan((SNAPSHOTS_KEPT + 1) * DELTA_FILES_MAX);
      expect(snapshotNames().length).toBe(SNAPSHOTS_KEPT);
      expect(reboot().store.keyCount).toBe(121);
    });

    it('loses no delta that comes while a snapshot is being written', async () => {
      const gateway = new Gateway({ framesMax: 4 });
      gateway.replace(
        at(0),
        Array.from({ length: 3_000 }, (_, index) => `k${index}`),
      );
      for (let rev = 1; rev <= 30; rev += 1) {
        gateway.change(keyChange(rev, rev));
        await new Promise((resolve) => setImmediate(resolve));
        // Whatever is reported as persisted is what a start finds, at every moment.
        const reported = gateway.persisted.at(-1);
        if (reported !== undefined) expect(reboot().store.position).toEqual(reported);
      }
      await gateway.snapshots.settled();
      expect(reboot().state).toEqual(gateway.state);
    });

    it('reports nothing as persisted while the disk is full, and everything when it is not any more', async () => {
      let full = false;
      const fs: DeltaLogFs = {
        ...nodeDeltaLogFs,
        writeSync(fd, bytes, offset, length, position) {
          if (!full) return nodeDeltaLogFs.writeSync(fd, bytes, offset, length, position);
          // Half of it still fits.
          if (length > 1) return nodeDeltaLogFs.writeSync(fd, bytes, offset, Math.ceil(length / 2), position);
          throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
        },
      };
      const gateway = new Gateway({ fs, writeRetryMs: 5 });
      gateway.replace(at(0), ['a']);
      await gateway.snapshots.settled();
      gateway.change(keyChange(1, 'b'));
      full = true;
      gateway.change(keyChange(2, 'c'));
      gateway.change(keyChange(3, 'd'));
      expect(gateway.persisted.at(-1)).toEqual(at(1));
      expect(reboot().store.position).toEqual(at(1));
      full = false;
      await eventually(() => gateway.persisted.at(-1)?.rev === 3);
      expect(reboot().state).toEqual(gateway.state);
    });

    it('removes what an unfinished write left behind', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      writeFileSync(join(directory, '.snapshot-0000000001-0000000000000011.snap.ab.tmp'), 'half');
      reboot();
      expect(readdirSync(directory).some((name) => name.endsWith('.tmp'))).toBe(false);
    });

    it('goes on after a delta log with a cut end, without the deltas beyond the cut', async () => {
      const gateway = new Gateway();
      gateway.replace(at(10), ['a']);
      await gateway.snapshots.settled();
      for (let rev = 11; rev <= 14; rev += 1) gateway.change(keyChange(rev, rev));
      const log = join(directory, deltaNames()[0]!);
      writeFileSync(log, readFileSync(log).subarray(0, -3));
      const second = reboot();
      expect(second.store.position).toEqual(at(13));
      second.change(keyChange(14, 'other'), keyChange(15, 'more'));
      const third = reboot();
      expect(third.state).toEqual(second.state);
    });

    it('never continues across a gap, also when what lies beyond it begins where a later history arrives', async () => {
      const first = new Gateway();
      first.replace(at(10), ['a']);
      await first.snapshots.settled();
      for (let rev = 11; rev <= 14; rev += 1) first.change(keyChange(rev, rev));
      await first.snapshots.close();
      const second = reboot();
      second.change(keyChange(15, 'lost'));
      await second.snapshots.close();
      // A power failure takes the end of the first log; the second one begins behind what is left.
      const log = join(directory, deltaNames()[0]!);
      writeFileSync(log, readFileSync(log).subarray(0, -3));
      const third = reboot();
      expect(third.store.position).toEqual(at(13));
      third.change(keyChange(14, 'other'));
      await third.snapshots.close();
      const fourth = reboot();
      expect(fourth.store.position).toEqual(at(14));
      expect(fourth.state).toEqual(third.state);
    });
  });

  describe('damage', () => {
    async function prepared(): Promise<{ states: unknown[]; files: string[] }> {
      const gateway = new Gateway({ framesMax: 3 });
      gateway.replace(at(10), ['a', 'b']);
      await gateway.snapshots.settled();
      const states = [gateway.state];
      for (let rev = 11; rev <= 15; rev += 1) {
        gateway.change(rev % 2 === 0 ? keyDeleted(rev, 'a') : keyChange(rev, rev));
        states.push(gateway.state);
        await gateway.snapshots.settled();
      }
      return { states, files: readdirSync(directory) };
    }

    function bootWith(file: string, bytes: Buffer, originals: ReadonlyMap<string, Buffer>) {
      for (const name of readdirSync(directory)) rmSync(join(directory, name));
      for (const [name, content] of originals) writeFileSync(join(directory, name), name === file ? bytes : content);
      return reboot().state;
    }

    it('of any file by a cut at any byte leads to an earlier state or to the same, never to another', async () => {
      const { states, files } = await prepared();
      const originals = new Map(files.map((name) => [name, readFileSync(join(directory, name))]));
      for (const file of files) {
        const bytes = originals.get(file)!;
        const stride = pick(file.endsWith('.snap') ? 97 : 7, 1);
        for (let cut = 0; cut < bytes.length; cut += stride) {
          expect(states).toContainEqual(bootWith(file, bytes.subarray(0, cut), originals));
        }
      }
    });

    it('of any file by a flipped bit leads to an earlier state or to the same, never to another', async () => {
      const { states, files } = await prepared();
      const originals = new Map(files.map((name) => [name, readFileSync(join(directory, name))]));
      fc.assert(
        fc.property(fc.constantFrom(...files), fc.nat(), fc.nat(7), (file, place, bit) => {
          const bytes = Buffer.from(originals.get(file)!);
          bytes[place % bytes.length]! ^= 1 << bit;
          expect(states).toContainEqual(bootWith(file, bytes, originals));
        }),
        { numRuns: pick(300, 10_000) },
      );
    });
  });

  describe('a slot that has no copy of its own', () => {
    it('starts from the slot whose copy leads furthest, changes nothing there, and keeps a copy itself', async () => {
      const [behind, ahead, damaged, own] = ['behind', 'ahead', 'damaged', 'own'].map((name) => join(directory, name));
      const older = new Gateway({ directory: behind! });
      // Its snapshot is newer than the other one, whose deltas lead further.
      older.replace(at(3), ['a']);
      const newer = new Gateway({ directory: ahead! });
      newer.replace(at(1), ['a', 'b']);
      newer.change(keyChange(2, 'c'), keyDeleted(3, 'a'));
      newer.change(keyChange(4, 'd'));
      for (const { snapshots } of [older, newer]) await snapshots.settled();
      new Gateway({ directory: damaged! });
      writeFileSync(join(damaged!, 'snapshot-0000000001-0000000000000009.snap'), 'nonsense');
      const before = [behind, ahead, damaged].map((path) => readdirSync(path!));

      const standIn = new Gateway({ directory: own! });
      expect(standIn.snapshots.restore(null)).toBeNull();
      const gone = join(directory, 'gone');
      expect(standIn.snapshots.borrow([ahead!, behind!, damaged!, gone])).toMatchObject({ rev: 4 });
      expect(standIn.state).toEqual(newer.state);
      expect([behind, ahead, damaged].map((path) => readdirSync(path!))).toEqual(before);

      await standIn.snapshots.settled();
      standIn.change(keyChange(5, 'e'));
      await standIn.snapshots.close();
      const next = reboot({ directory: own! });
      expect(next.state).toEqual(standIn.state);
      for (const { snapshots } of [older, newer, next]) await snapshots.close();
    });

    it('has nothing when nobody has', () => {
      const standIn = new Gateway({ directory: join(directory, 'own') });
      expect(standIn.snapshots.borrow([join(directory, 'gone')])).toBeNull();
      expect(standIn.store.position).toBeNull();
    });
  });
});

/** The same snapshot with another format number and a header checksum that fits. */
function asFormat(bytes: Buffer, format: number): Buffer {
  const copy = Buffer.from(bytes);
  const start = copy.indexOf('\n') + 1;
  const at = copy.indexOf('"format":') + '"format":'.length;
  copy.write(String(format), at);
  copy.write(createHash('sha256').update(copy.subarray(start, 1_024)).digest('hex'), 'CLAVIGER-SNAPSHOT '.length);
  return copy;
}

/** As earlier versions wrote it. */
function lineSnapshot(format: number, position: Position): Buffer {
  const { allowedRegions: _, fence: __, ...older } = principalOf('a');
  const keys = [older, principalOf('b')].map((principal) => ({ principal: principal as Principal, spendNano: '7' }));
  const model = { id: 'm', modelName: 'gpt', litellmParams: {}, modelInfo: {} };
  const frames: DownFrame[] = [
    { t: 'settings', settings: { fleet_key: FLEET_KEY } },
    ...(format === 1 ? [] : [{ t: 'models' as const, models: [model] }]),
    { t: 'keys', keys },
    { t: 'deleted-keys', tokens: [tokenOf('c')] },
  ];
  const body = Buffer.from(frames.map(encodeDownFrame).join(''));
  const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  const counts = { keyCount: 2, deletedCount: 1, bodyBytes: body.length, bodySha256: sha256(body) };
  const header = Buffer.alloc(1_024 - 83, ' ');
  header.write(JSON.stringify({ format, ...position, ...counts }));
  header[header.length - 1] = 10;
  return Buffer.concat([Buffer.from(`CLAVIGER-SNAPSHOT ${sha256(header)}\n`), header, body]);
}
