/**
 * A copy of what a gateway process has on disk, in a place that outlives it: a directory, or the same directory behind a web server. A new
 * worker with an empty data directory starts from it while database and control plane are away.
 *
 *   <region>.mirror               one line of JSON (`MirrorHead`), a line end, the HMAC-SHA-256 of that line in hex
 *   <region>-<sha256>.<ending>    the files it names, by content: they never change, and any worker may write them. Snapshot, deltas,
 *                                 and the witness, so that a fence counts from when the original was known to be current
 *
 * The head is replaced last, so a reader sees one state or another, whole. The key of the HMAC is the fleet's: whoever can write to the
 * place but has no key can make the copy unusable, and nothing else. Secrets inside are sealed as they are on disk.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Position } from '../../domain/change.ts';
import { writeFileAtomic } from '../../util/atomic-file.ts';
import type { Clock } from '../../util/clock.ts';
import { WITNESS_FILE } from './witness-file.ts';

export const MIRROR_FORMAT = 1;
/** A longer head is not ours. */
export const MIRROR_HEAD_BYTES_MAX = 64 * 1024;
/** Snapshot and delta logs together; a reader takes no more. Room for ten million keys. */
export const MIRROR_BYTES_MAX = 4 * 1024 ** 3;
/** For each request to a web server; a start does not hang on a place that does not answer. */
export const MIRROR_FETCH_TIMEOUT_MS = 30_000;
/** Files that no head names any more are kept this long for those who are still reading them. */
const UNNAMED_KEPT_MS = 10 * 60_000;
/** The copy names hashed keys and people; it is for the account and its group. */
const FILE_MODE = 0o640;

export interface MirrorHead extends Position {
  readonly format: number;
  readonly region: string;
  /** Wall clock of the moment up to which the database is known to have said nothing else; null: not known. */
  readonly witnessAtMs: number | null;
  readonly writtenAtMs: number;
  readonly files: readonly MirroredFile[];
}

export interface MirroredFile {
  /** In the slot directory. */
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface SnapshotMirrorOptions {
  /** A directory, or an address that begins with `https://` or `http://`: that is only read. */
  readonly location: string;
  readonly region: string;
  readonly key: Buffer;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/** What there is in the mirror is not what a worker of this fleet has written. */
export class MirrorError extends Error {
  override readonly name = 'MirrorError';
}

export class SnapshotMirror {
  readonly #options: SnapshotMirrorOptions;
  /** Digests of files that do not change any more, by name and size. */
  readonly #known = new Map<string, MirroredFile>();

  constructor(options: SnapshotMirrorOptions) {
    this.#options = options;
  }

  get isWritable(): boolean {
    return !isUrl(this.#options.location);
  }

  /**
   * Copies the newest snapshot of a slot directory and the deltas behind it. `position` is what they lead to at least. A mirror that is
   * further already is left alone. Returns whether it was written.
   */
  async publish(slotDir: string, position: Position, witnessAtMs: number | null): Promise<boolean> {
    const { clock, location, region } = this.#options;
    await mkdir(location, { recursive: true, mode: 0o750 });
    const there = await this.#readHead().catch(() => null);
    if (there !== null && there.installation === position.installation && isFurther(there, position, witnessAtMs)) {
      return false;
    }
    const files: MirroredFile[] = [];
    for (const name of await filesToCopy(slotDir)) files.push(await this.#copy(join(slotDir, name), name));
    if (files.length === 0) return false;
    const { installation, epoch, rev } = position;
    const head: MirrorHead = {
      format: MIRROR_FORMAT,
      installation,
      epoch,
      rev,
      region,
      witnessAtMs,
      writtenAtMs: clock.nowMs(),
      files,
    };
    await writeFileAtomic(join(location, headName(region)), this.#sign(head), FILE_MODE);
    await this.#removeUnnamed(files);
    return true;
  }

  /** Fills an empty slot directory. Null: there is no mirror yet. Throws `MirrorError` when what is there can not be trusted. */
  async restoreInto(slotDir: string): Promise<MirrorHead | null> {
    const head = await this.#readHead();
    if (head === null) return null;
    const total = head.files.reduce((sum, file) => sum + file.bytes, 0);
    if (total > MIRROR_BYTES_MAX)
      throw new MirrorError(`the mirror holds ${total} bytes, more than ${MIRROR_BYTES_MAX}`);
    const fetched: string[] = [];
    try {
      for (const file of head.files) {
        if (!FILE_NAME.test(file.name)) throw new MirrorError(`the mirror names a file ${JSON.stringify(file.name)}`);
        const temporary = join(slotDir, `.snapshot-${file.sha256.slice(0, 16)}.tmp`);
        fetched.push(temporary);
        await this.#fetch(file, temporary);
      }
      // Backwards, so that the snapshot comes behind its deltas: without it they are of no use to a start, and do no harm.
      for (const [index, file] of [...head.files.entries()].reverse())
        await rename(fetched[index]!, join(slotDir, file.name));
    } catch (error) {
      for (const path of fetched) await rm(path, { force: true });
      throw error;
    }
    return head;
  }

  async #copy(path: string, name: string): Promise<MirroredFile> {
    const { location, region } = this.#options;
    const { size } = await stat(path);
    // The witness is written over with another content of the same size.
    const known = name === WITNESS_FILE ? undefined : this.#known.get(`${name} ${size}`);
    if (known !== undefined && (await exists(join(location, storedName(region, known))))) return known;
    // A delta log grows while it is copied: what counts is the copy, and its unfinished end is cut when it is read.
    const temporary = join(location, `.${region}-${process.pid}-${name}.tmp`);
    try {
      await copyFile(path, temporary);
      const file = { name, ...(await digestOf(temporary)) };
      await rename(temporary, join(location, storedName(region, file)));
      this.#known.set(`${name} ${file.bytes}`, file);
      return file;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async #readHead(): Promise<MirrorHead | null> {
    const { key, region } = this.#options;
    const text = await this.#readSmall(headName(region));
    if (text === null) return null;
    const end = text.indexOf('\n');
    const line = text.slice(0, end);
    const expected = hmac(key, line);
    const given = Buffer.from(text.slice(end + 1).trim(), 'hex');
    if (end < 0 || given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new MirrorError(`the mirror of region ${region} was not written by a worker with the keys of this fleet`);
    }
    const head = JSON.parse(line) as MirrorHead;
    if (head.format !== MIRROR_FORMAT) {
      throw new MirrorError(`the mirror has format ${head.format}; this version reads ${MIRROR_FORMAT}`);
    }
    if (head.region !== region) throw new MirrorError(`the mirror is of region ${head.region}, not of ${region}`);
    return head;
  }

  async #readSmall(name: string): Promise<string | null> {
    const { location } = this.#options;
    if (isUrl(location)) {
      const response = await fetch(address(location, name), { signal: AbortSignal.timeout(MIRROR_FETCH_TIMEOUT_MS) });
      if (response.status === 404) return null;
      if (!response.ok) throw new MirrorError(`${address(location, name)} answered ${response.status}`);
      return (await response.text()).slice(0, MIRROR_HEAD_BYTES_MAX);
    }
    try {
      return (await readFile(join(location, name), 'utf8')).slice(0, MIRROR_HEAD_BYTES_MAX);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  async #fetch(file: MirroredFile, to: string): Promise<void> {
    const { location, region } = this.#options;
    const name = storedName(region, file);
    if (isUrl(location)) await download(address(location, name), to, file.bytes);
    else await copyFile(join(location, name), to);
    const { sha256, bytes } = await digestOf(to);
    if (sha256 !== file.sha256 || bytes !== file.bytes) {
      throw new MirrorError(`${name} in the mirror is damaged: ${bytes} bytes with another digest than its head says`);
    }
  }

  async #removeUnnamed(files: readonly MirroredFile[]): Promise<void> {
    const { clock, location, region } = this.#options;
    const named = new Set(files.map((file) => storedName(region, file)));
    for (const name of await readdir(location)) {
      const isOurs = name.startsWith(`${region}-`) || name.startsWith(`.${region}-`);
      if (!isOurs || named.has(name)) continue;
      const path = join(location, name);
      const age = await stat(path).then(
        ({ mtimeMs }) => clock.nowMs() - mtimeMs,
        () => 0,
      );
      if (age > UNNAMED_KEPT_MS) await rm(path, { force: true });
    }
  }

  #sign(head: MirrorHead): string {
    const line = JSON.stringify(head);
    return `${line}\n${hmac(this.#options.key, line).toString('hex')}\n`;
  }
}

const SNAPSHOT_NAME = /^snapshot-\d{10}-\d{16}\.snap$/;
const DELTA_NAME = /^delta-\d{10}-\d{16}\.log$/;
const FILE_NAME = /^(snapshot-\d{10}-\d{16}\.snap|delta-\d{10}-\d{16}\.log|witness)$/;

/**
 * The newest snapshot, and the delta logs that begin where it ends or later; names sort by position. The witness is copied first: what it
 * says of a revision is true of every copy that holds the revision, so the files may be newer than it and not older.
 */
async function filesToCopy(slotDir: string): Promise<string[]> {
  const names = (await readdir(slotDir)).sort();
  const snapshot = names.filter((name) => SNAPSHOT_NAME.test(name)).at(-1);
  if (snapshot === undefined) return [];
  const from = snapshot.slice('snapshot-'.length, -'.snap'.length);
  const deltas = names.filter((name) => DELTA_NAME.test(name) && name.slice('delta-'.length, -4) >= from);
  return [...names.filter((name) => name === WITNESS_FILE), snapshot, ...deltas];
}

function isFurther(there: MirrorHead, position: Position, witnessAtMs: number | null): boolean {
  if (there.epoch !== position.epoch) return there.epoch > position.epoch;
  if (there.rev !== position.rev) return there.rev > position.rev;
  return (there.witnessAtMs ?? 0) >= (witnessAtMs ?? 0);
}

function headName(region: string): string {
  return `${region}.mirror`;
}

function storedName(region: string, { name, sha256 }: MirroredFile): string {
  const ending = name === WITNESS_FILE ? '.witness' : name.slice(name.lastIndexOf('.'));
  return `${region}-${sha256.slice(0, 32)}${ending}`;
}

function isUrl(location: string): boolean {
  return /^https?:\/\//i.test(location);
}

function address(location: string, name: string): string {
  return `${location.replace(/\/+$/, '')}/${name}`;
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

async function digestOf(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'r');
  try {
    for await (const chunk of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } finally {
    await file.close();
  }
  return { sha256: hash.digest('hex'), bytes };
}

async function download(url: string, to: string, bytesMax: number): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(MIRROR_FETCH_TIMEOUT_MS) });
  if (!response.ok || response.body === null) throw new MirrorError(`${url} answered ${response.status}`);
  const file = await open(to, 'w', 0o600);
  let bytes = 0;
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new MirrorError(`${url} is longer than the ${bytesMax} bytes that its head says`);
      await writeFile(file, chunk);
    }
  } finally {
    await file.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
