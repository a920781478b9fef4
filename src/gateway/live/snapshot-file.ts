/**
 * One snapshot as a file: a header of fixed size, then lines as the feed has them (`settings`, `models`, `keys`, `deleted-keys`).
 *
 *   CLAVIGER-SNAPSHOT <SHA-256 of the rest of the header>\n{header as JSON, padded with spaces}\n<body>
 *
 * The header holds the SHA-256 of the body, so every bit of the file is under one of the two sums. A file is either used
 * whole or not at all.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Position } from '../../domain/change.ts';
import { encodeDownFrame, parseDownFrame } from '../../feed/codec.ts';
import { type DownFrame, ENTITIES_PER_FRAME_MAX } from '../../feed/protocol.ts';
import type { SnapshotCollector, StoreContents } from './principal-store.ts';

/** 1 had no models; a file of it is still read. */
export const SNAPSHOT_FORMAT = 2;
const SNAPSHOT_FORMAT_MIN = 1;
export const SNAPSHOT_HEADER_BYTES = 1_024;
/** Deleted keys in one line; they are digests only, so a line of this size serialises in about a millisecond. */
const DELETED_KEYS_PER_LINE = 5_000;

export interface SnapshotHeader extends Position {
  readonly format: number;
  readonly keyCount: number;
  readonly deletedCount: number;
  readonly bodyBytes: number;
  readonly bodySha256: string;
}

/** The file is not what was written. */
export class SnapshotDamagedError extends Error {
  override readonly name = 'SnapshotDamagedError';
}

/** The file is in order and of a format that this version can not read: written by a newer one. */
export class SnapshotFormatError extends Error {
  override readonly name = 'SnapshotFormatError';
}

/**
 * Writes the file so that after a crash there is the whole new file or none of it: temporary file, fsync, rename, fsync of
 * the directory. The body is serialised line by line with a return to the event loop after each, so that no request waits
 * for more than one line.
 */
export async function writeSnapshotFile(path: string, contents: StoreContents): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(4).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      const bodyHash = createHash('sha256');
      let at = SNAPSHOT_HEADER_BYTES;
      for (const frame of bodyFrames(contents)) {
        const line = Buffer.from(encodeDownFrame(frame));
        bodyHash.update(line);
        await writeAll(file, line, at);
        at += line.length;
      }
      const header: SnapshotHeader = {
        format: SNAPSHOT_FORMAT,
        ...contents.position,
        keyCount: contents.principals.length,
        deletedCount: contents.deletedTokens.length,
        bodyBytes: at - SNAPSHOT_HEADER_BYTES,
        bodySha256: bodyHash.digest('hex'),
      };
      await writeAll(file, encodeHeader(header), 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Checks the whole file before anything of it goes into `collector`, and returns its header. Used at boot only. */
export function readSnapshotFile(path: string, collector: SnapshotCollector): SnapshotHeader {
  const bytes = readFileSync(path);
  const header = decodeHeader(bytes);
  const body = bytes.subarray(SNAPSHOT_HEADER_BYTES);
  if (body.length !== header.bodyBytes) {
    throw new SnapshotDamagedError(`${path} holds ${body.length} bytes after its header, not ${header.bodyBytes}`);
  }
  if (createHash('sha256').update(body).digest('hex') !== header.bodySha256) {
    throw new SnapshotDamagedError(`${path} does not match its checksum`);
  }
  let keyCount = 0;
  let deletedCount = 0;
  for (let start = 0; start < body.length; ) {
    const end = body.indexOf(10, start);
    const frame = parseDownFrame(body.toString('utf8', start, end === -1 ? body.length : end));
    start = end === -1 ? body.length : end + 1;
    if (frame?.t === 'keys') {
      collector.addKeys(frame.keys);
      keyCount += frame.keys.length;
    } else if (frame?.t === 'deleted-keys') {
      collector.addDeletedKeys(frame.tokens);
      deletedCount += frame.tokens.length;
    } else if (frame?.t === 'settings') {
      collector.addSettings(frame.settings);
    } else if (frame?.t === 'models') {
      collector.addModels(frame.models);
    } else {
      throw new SnapshotDamagedError(`${path} holds a line of kind ${frame?.t ?? 'unknown'}`);
    }
  }
  if (keyCount !== header.keyCount || deletedCount !== header.deletedCount) {
    throw new SnapshotDamagedError(`${path} holds ${keyCount} keys, not ${header.keyCount}`);
  }
  return header;
}

const MAGIC = 'CLAVIGER-SNAPSHOT ';
const MAGIC_LINE_BYTES = MAGIC.length + 64 + 1;

function encodeHeader(header: SnapshotHeader): Buffer {
  const rest = Buffer.alloc(SNAPSHOT_HEADER_BYTES - MAGIC_LINE_BYTES, ' ');
  const json = JSON.stringify(header);
  if (Buffer.byteLength(json) >= rest.length) throw new RangeError('the header of a snapshot does not fit');
  rest.write(json);
  rest[rest.length - 1] = 10;
  return Buffer.concat([Buffer.from(`${MAGIC}${createHash('sha256').update(rest).digest('hex')}\n`), rest]);
}

function decodeHeader(bytes: Buffer): SnapshotHeader {
  if (bytes.length < SNAPSHOT_HEADER_BYTES) throw new SnapshotDamagedError('the header of the snapshot is cut off');
  const rest = bytes.subarray(MAGIC_LINE_BYTES, SNAPSHOT_HEADER_BYTES);
  const magicLine = `${MAGIC}${createHash('sha256').update(rest).digest('hex')}\n`;
  if (bytes.toString('latin1', 0, MAGIC_LINE_BYTES) !== magicLine) {
    throw new SnapshotDamagedError('the header of the snapshot does not match its checksum');
  }
  const header = JSON.parse(rest.toString('utf8')) as SnapshotHeader;
  if (header.format > SNAPSHOT_FORMAT || header.format < SNAPSHOT_FORMAT_MIN) {
    throw new SnapshotFormatError(`the snapshot has format ${header.format}; this version reads ${SNAPSHOT_FORMAT}`);
  }
  return header;
}

function* bodyFrames(contents: StoreContents): Generator<DownFrame> {
  yield { t: 'settings', settings: contents.settings };
  for (let start = 0; start < contents.models.length; start += ENTITIES_PER_FRAME_MAX) {
    yield { t: 'models', models: contents.models.slice(start, start + ENTITIES_PER_FRAME_MAX) };
  }
  for (let start = 0; start < contents.principals.length; start += ENTITIES_PER_FRAME_MAX) {
    const keys = contents.principals.slice(start, start + ENTITIES_PER_FRAME_MAX).map((principal, index) => ({
      principal,
      spendNano: String(contents.spendNano[start + index]),
    }));
    yield { t: 'keys', keys };
  }
  for (let start = 0; start < contents.deletedTokens.length; start += DELETED_KEYS_PER_LINE) {
    yield { t: 'deleted-keys', tokens: contents.deletedTokens.slice(start, start + DELETED_KEYS_PER_LINE) };
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
