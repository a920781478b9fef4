import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { at } from '../../../tests/support/principals.ts';
import { MirrorError, SnapshotMirror } from './snapshot-mirror.ts';

const KEY = Buffer.alloc(32, 3);
const SNAPSHOT = 'snapshot-0000000001-0000000000000010.snap';
const DELTA = 'delta-0000000001-0000000000000010.log';
const OLD_SNAPSHOT = 'snapshot-0000000001-0000000000000004.snap';
const OLD_DELTA = 'delta-0000000001-0000000000000004.log';

let directory: string;
let slot: string;
let location: string;
let fresh: string;
let nowMs: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mirror-'));
  [slot, location, fresh] = ['slot', 'mirror', 'fresh'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(slot);
  mkdirSync(fresh);
  nowMs = Date.now();
  writeFileSync(join(slot, SNAPSHOT), 'the snapshot');
  writeFileSync(join(slot, DELTA), 'the deltas');
  writeFileSync(join(slot, OLD_SNAPSHOT), 'an older snapshot');
  writeFileSync(join(slot, OLD_DELTA), 'older deltas');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function mirror(given: { location?: string; region?: string; key?: Buffer } = {}): SnapshotMirror {
  const { location: place = location, region = 'eu', key = KEY } = given;
  return new SnapshotMirror({ location: place, region, key, clock: { nowMs: () => nowMs } });
}

const contents = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name), 'utf8')]));
const stored = (ending: string) => join(location, readdirSync(location).find((name) => name.endsWith(ending))!);

describe('a snapshot mirror', () => {
  it('gives a new worker the newest snapshot, the deltas behind it, and the age of what they say', async () => {
    expect(await mirror().publish(slot, at(12), 1_000)).toBe(true);
    const head = await mirror().restoreInto(fresh);
    expect(head).toMatchObject({ ...at(12), region: 'eu', witnessAtMs: 1_000 });
    expect(contents(fresh)).toEqual({ [SNAPSHOT]: 'the snapshot', [DELTA]: 'the deltas' });
    expect(statSync(stored('.mirror')).mode & 0o007).toBe(0);
  });

  it('brings the witness along, and the newest one', async () => {
    const writer = mirror();
    writeFileSync(join(slot, 'witness'), 'old');
    await writer.publish(slot, at(12), 1_000);
    writeFileSync(join(slot, 'witness'), 'new');
    await writer.publish(slot, at(12), 2_000);
    await mirror().restoreInto(fresh);
    expect(contents(fresh)).toEqual({ [SNAPSHOT]: 'the snapshot', [DELTA]: 'the deltas', witness: 'new' });
  });

  it('is not there before it is written, and keeps regions apart', async () => {
    expect(await mirror().restoreInto(fresh)).toBeNull();
    await mirror({ region: 'us' }).publish(slot, at(12), null);
    expect(await mirror().restoreInto(fresh)).toBeNull();
    expect(contents(fresh)).toEqual({});
  });

  it('follows what grows, and is never put back by a worker that is behind', async () => {
    const writer = mirror();
    await writer.publish(slot, at(12), 1_000);
    writeFileSync(join(slot, DELTA), 'the deltas and more');
    expect(await writer.publish(slot, at(13), 2_000)).toBe(true);
    expect(await mirror().publish(slot, at(12), 9_000)).toBe(false);
    expect(await mirror().publish(slot, at(13), 1_500)).toBe(false);
    expect(await mirror().publish(slot, at(13), 2_500)).toBe(true);
    const head = await mirror().restoreInto(fresh);
    expect(head).toMatchObject({ rev: 13, witnessAtMs: 2_500 });
    expect(contents(fresh)[DELTA]).toBe('the deltas and more');
  });

  it('is used only when it was written with the keys of the fleet', async () => {
    await mirror({ key: Buffer.alloc(32, 4) }).publish(slot, at(12), null);
    await expect(mirror().restoreInto(fresh)).rejects.toThrow(MirrorError);
    // Whoever has the keys writes over it.
    expect(await mirror().publish(slot, at(12), null)).toBe(true);
    expect(await mirror().restoreInto(fresh)).not.toBeNull();
  });

  it.each(['.mirror', '.snap', '.log'])(
    'leaves nothing behind when a byte of the %s file is another one',
    async (ending) => {
      await mirror().publish(slot, at(12), null);
      const path = stored(ending);
      const bytes = readFileSync(path);
      for (let position = 0; position < bytes.length - 1; position += Math.max(1, Math.floor(bytes.length / 40))) {
        const damaged = Buffer.from(bytes);
        damaged[position]! ^= 1;
        writeFileSync(path, damaged);
        await expect(mirror().restoreInto(fresh), `byte ${position}`).rejects.toThrow(MirrorError);
        expect(readdirSync(fresh)).toEqual([]);
      }
    },
  );

  it('comes from a web server too, which is not written to', async () => {
    await mirror().publish(slot, at(12), 1_000);
    const server = createServer((request, response) => {
      try {
        response.end(readFileSync(join(location, request.url ?? '')));
      } catch {
        response.writeHead(404).end();
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const remote = mirror({ location: url });
    expect(remote.isWritable).toBe(false);
    expect(await mirror({ location: url, region: 'nowhere' }).restoreInto(fresh)).toBeNull();
    expect(await remote.restoreInto(fresh)).toMatchObject({ rev: 12 });
    expect(contents(fresh)).toEqual({ [SNAPSHOT]: 'the snapshot', [DELTA]: 'the deltas' });
    server.close();
  });

  it('forgets files that no head names any more, after those who read them are done', async () => {
    await mirror().publish(slot, at(12), null);
    writeFileSync(join(slot, DELTA), 'others');
    await mirror().publish(slot, at(13), null);
    expect(readdirSync(location).filter((name) => name.endsWith('.log'))).toHaveLength(2);
    for (const name of readdirSync(location)) utimesSync(join(location, name), nowMs / 1_000, nowMs / 1_000);
    nowMs += 11 * 60_000;
    await mirror().publish(slot, at(14), null);
    expect(readdirSync(location).filter((name) => name.endsWith('.log'))).toHaveLength(1);
  });
});
