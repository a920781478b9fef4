/**
 * One snapshot as a file: a header of fixed size, the tables of a packed store, and a directory of them.
 *
 *   CLAVIGER-SNAPSHOT <SHA-256 of the rest of the header>\n{header as JSON, padded with spaces}\n<body>
 *
 * The header holds the SHA-256 of the directory, which holds those of the tables, so every bit of the file is under a sum. A file is
 * either used whole or not at all. The header has the same place and form in all formats, so that a version which can not read a format
 * knows it for a newer one.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { endianness } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Position } from '../../domain/change.ts';
import { type LineBody, readLineBody } from './line-snapshot.ts';
import { PackedContents } from './packed/packed-contents.ts';
import { type DirectoryPlace, PackedFileError, readPackedBody, writePackedBody } from './packed/packed-file.ts';
import { packedContentsOf } from './packed/packed-principal-store.ts';
import type { SnapshotCollector, StoreContents } from './principal-store.ts';

/** 1 had no models, 1 and 2 were lines, 3 had no accounts and no further terms of keys; files of all are still read. */
export const SNAPSHOT_FORMAT = 4;
/** What is missing in a file of an earlier format may restrict somebody: it is used, and a whole snapshot is asked for at once. */
export const SNAPSHOT_FORMAT_WHOLE = 4;
const SNAPSHOT_FORMAT_MIN = 1;
const PACKED_FORMAT_MIN = 3;
export const SNAPSHOT_HEADER_BYTES = 1_024;

export interface SnapshotHeader extends Position {
  readonly format: number;
  readonly keyCount: number;
  readonly deletedCount: number;
  /** The audit head (hex) at the position; null or absent where it is not known. */
  readonly head?: string | null;
}

interface PackedHeader extends SnapshotHeader, DirectoryPlace {
  readonly head: string | null;
  /** The region whose models are in it. */
  readonly region: string | null;
  /** Numbers in the tables are in the order of the machine that wrote them. */
  readonly byteOrder: 'LE' | 'BE';
  readonly setHash: string;
  /** Room for a signature over the rest of the header. */
  readonly signature: string | null;
}

/** The file is not what was written. */
export class SnapshotDamagedError extends Error {
  override readonly name = 'SnapshotDamagedError';
}

/** The file is in order and of a format that this version can not read: written by a newer one, or on another kind of machine. */
export class SnapshotFormatError extends Error {
  override readonly name = 'SnapshotFormatError';
}

/**
 * Writes the file so that after a crash there is the whole new file or none of it: temporary file, fsync, rename, fsync of
 * the directory. It returns to the event loop behind each piece of at most 256 KiB, so that no request waits for more than one.
 */
export async function writeSnapshotFile(
  path: string,
  contents: StoreContents,
  region: string | null = null,
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(4).toString('hex')}.tmp`);
  const { position, head, tables } = contents instanceof PackedContents ? contents : packedContentsOf(contents);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      const place = await writePackedBody(file, SNAPSHOT_HEADER_BYTES, tables);
      const header: PackedHeader = {
        format: SNAPSHOT_FORMAT,
        installation: position.installation,
        epoch: position.epoch,
        rev: position.rev,
        head,
        region,
        byteOrder: endianness(),
        keyCount: tables.keys.count,
        deletedCount: tables.deleted.count,
        setHash: tables.setHash,
        ...place,
        signature: null,
      };
      await file.write(encodeHeader(header), 0, SNAPSHOT_HEADER_BYTES, 0);
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
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
    const header = decodeHeader(bytes.subarray(0, readSync(fd, bytes, 0, SNAPSHOT_HEADER_BYTES, 0)));
    if (header.format < PACKED_FORMAT_MIN) {
      const body = readFileSync(path).subarray(SNAPSHOT_HEADER_BYTES);
      const problem = readLineBody(body, header as SnapshotHeader & LineBody, collector);
      if (problem !== null) throw new SnapshotDamagedError(`${path} ${problem}`);
    } else collector.addContents(readPacked(path, fd, header as PackedHeader));
    return header;
  } finally {
    closeSync(fd);
  }
}

function readPacked(path: string, fd: number, header: PackedHeader): PackedContents {
  const { installation, epoch, rev, head, directoryAt, directoryBytes } = header;
  if (header.byteOrder !== endianness()) {
    throw new SnapshotFormatError(`the snapshot was written on a machine of byte order ${header.byteOrder}`);
  }
  const { size } = fstatSync(fd);
  if (size !== directoryAt + directoryBytes) {
    throw new SnapshotDamagedError(`${path} holds ${size} bytes, not ${directoryAt + directoryBytes}`);
  }
  try {
    return new PackedContents({ installation, epoch, rev }, head, readPackedBody(fd, header));
  } catch (error) {
    if (!(error instanceof PackedFileError)) throw error;
    throw new SnapshotDamagedError(`${path}: ${error.message}`);
  }
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
