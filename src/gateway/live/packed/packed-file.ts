/**
 * The body of a snapshot file of format 3 or 4: the tables of a packed store as they are in memory, one section behind the other, then a
 * directory of them as JSON. Each section is under its SHA-256 in the directory, and the directory under one in the header of the file.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Account } from '../../../domain/account.ts';
import type { Revision } from '../../../domain/change.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import type { JsonValue } from '../../../domain/virtual-key.ts';
import { BLOB_CHUNK_BYTES, BlobPool, type BlobPoolShape } from './blob-pool.ts';
import { Chunk } from './chunk.ts';
import { DIGEST_BYTES } from './digest-table.ts';
import type { PackedTables } from './packed-contents.ts';
import { PRINCIPAL_RECORD_BYTES } from './principal-record.ts';
import { RECORDS_PER_CHUNK, RecordList } from './record-list.ts';
import { TEXT_RECORD_BYTES } from './text-table.ts';

/** Where the directory lies in the file; part of the header. */
export interface DirectoryPlace {
  readonly directoryAt: number;
  readonly directoryBytes: number;
  readonly directorySha256: string;
}

/** What the file holds is not what its checksums say. */
export class PackedFileError extends Error {
  override readonly name = 'PackedFileError';
}

interface Section {
  readonly at: number;
  readonly bytes: number;
  readonly sha256: string;
}

interface Directory {
  readonly config: Section;
  readonly keys: Section & { readonly count: number };
  readonly deleted: Section & { readonly count: number };
  readonly texts: Section & { readonly count: number; readonly firstFree: number };
  readonly names: Section & { readonly shape: BlobPoolShape };
  readonly textBytes: Section & { readonly shape: BlobPoolShape };
  readonly cold: Section & { readonly shape: BlobPoolShape };
  /** One account per line, as JSON. Format 3 has none. */
  readonly accounts?: Section;
  readonly setHash: string;
  readonly configRev: Revision;
}

interface Config {
  readonly settings: Readonly<Record<string, JsonValue>>;
  readonly models: readonly StoredModel[];
  readonly wideSpend: readonly (readonly [slot: number, spendNano: string])[];
}

/** Writes the body from byte `start` on. Returns to the event loop behind each chunk of at most 256 KiB. */
export async function writePackedBody(file: FileHandle, start: number, tables: PackedTables): Promise<DirectoryPlace> {
  const { keys, deleted, texts, names, textBytes, cold, settings, models, accounts, wideSpend } = tables;
  const config: Config = {
    settings,
    models,
    wideSpend: wideSpend.map(([slot, spendNano]) => [slot, String(spendNano)]),
  };
  let at = start;
  const section = async (pieces: Iterable<Buffer>): Promise<Section> => {
    const begin = at;
    const sum = createHash('sha256');
    for (const piece of pieces) {
      sum.update(piece);
      await writeAll(file, piece, at);
      at += piece.length;
    }
    return { at: begin, bytes: at - begin, sha256: sum.digest('hex') };
  };
  const directory: Directory = {
    config: await section([Buffer.from(JSON.stringify(config))]),
    keys: { ...(await section(recordPieces(keys))), count: keys.count },
    deleted: { ...(await section(recordPieces(deleted))), count: deleted.count },
    texts: { ...(await section(recordPieces(texts))), count: texts.count, firstFree: tables.firstFreeText },
    names: { ...(await section(poolPieces(names))), shape: names.shape },
    textBytes: { ...(await section(poolPieces(textBytes))), shape: textBytes.shape },
    cold: { ...(await section(poolPieces(cold))), shape: cold.shape },
    accounts: await section(accountPieces(accounts)),
    setHash: tables.setHash,
    configRev: tables.configRev,
  };
  const { at: directoryAt, bytes, sha256 } = await section([Buffer.from(JSON.stringify(directory))]);
  return { directoryAt, directoryBytes: bytes, directorySha256: sha256 };
}

/** Reads the tables straight into the memory that they will be used in. Throws `PackedFileError` when a sum does not match. */
export function readPackedBody(
  fd: number,
  { directoryAt, directoryBytes, directorySha256 }: DirectoryPlace,
): PackedTables {
  const text = (what: string, { at, bytes, sha256 }: Section): string => {
    const buffer = Buffer.alloc(bytes);
    readChecked(fd, what, { at, bytes, sha256 }, [buffer]);
    return buffer.toString('utf8');
  };
  const directory = JSON.parse(
    text('directory', { at: directoryAt, bytes: directoryBytes, sha256: directorySha256 }),
  ) as Directory;
  const config = JSON.parse(text('config', directory.config)) as Config;
  return {
    keys: readRecords(fd, 'keys', directory.keys, PRINCIPAL_RECORD_BYTES),
    deleted: readRecords(fd, 'deleted', directory.deleted, DIGEST_BYTES),
    texts: readRecords(fd, 'texts', directory.texts, TEXT_RECORD_BYTES),
    firstFreeText: directory.texts.firstFree,
    names: readPool(fd, 'names', directory.names),
    textBytes: readPool(fd, 'textBytes', directory.textBytes),
    cold: readPool(fd, 'cold', directory.cold),
    settings: config.settings,
    models: config.models,
    accounts: directory.accounts === undefined ? [] : accountsIn(text('accounts', directory.accounts)),
    wideSpend: config.wideSpend.map(([slot, spendNano]) => [slot, BigInt(spendNano)]),
    setHash: directory.setHash,
    configRev: directory.configRev,
  };
}

/** Characters of accounts that are made into one piece. */
const ACCOUNT_PIECE_CHARS = 64 * 1024;

function* accountPieces(accounts: readonly Account[]): Generator<Buffer> {
  let lines = '';
  for (const account of accounts) {
    lines += `${JSON.stringify(account)}\n`;
    if (lines.length < ACCOUNT_PIECE_CHARS) continue;
    yield Buffer.from(lines);
    lines = '';
  }
  if (lines !== '') yield Buffer.from(lines);
}

function accountsIn(lines: string): Account[] {
  const accounts: Account[] = [];
  for (let start = 0; start < lines.length; ) {
    const end = lines.indexOf('\n', start);
    accounts.push(JSON.parse(lines.slice(start, end)) as Account);
    start = end + 1;
  }
  return accounts;
}

function* recordPieces({ chunks, count, recordBytes }: RecordList): Generator<Buffer> {
  for (let index = 0; index * RECORDS_PER_CHUNK < count; index += 1) {
    const records = Math.min(RECORDS_PER_CHUNK, count - index * RECORDS_PER_CHUNK);
    yield chunks[index]!.bytes.subarray(0, records * recordBytes);
  }
}

function readRecords(fd: number, what: string, section: Section & { count: number }, recordBytes: number): RecordList {
  const chunks: Chunk[] = [];
  const pieces: Buffer[] = [];
  for (let left = section.count; left > 0; left -= RECORDS_PER_CHUNK) {
    const chunk = new Chunk(RECORDS_PER_CHUNK * recordBytes);
    chunks.push(chunk);
    pieces.push(chunk.bytes.subarray(0, Math.min(left, RECORDS_PER_CHUNK) * recordBytes));
  }
  readChecked(fd, what, section, pieces);
  return new RecordList(recordBytes, chunks, section.count);
}

function* poolPieces(pool: BlobPool): Generator<Buffer> {
  const lengths = usedLengths(pool.shape);
  for (const [index, chunk] of pool.chunks.entries()) yield chunk.bytes.subarray(0, lengths[index]!.usedBytes);
}

function readPool(fd: number, what: string, section: Section & { shape: BlobPoolShape }): BlobPool {
  const chunks: Chunk[] = [];
  const pieces: Buffer[] = [];
  for (const { byteLength, usedBytes } of usedLengths(section.shape)) {
    const chunk = new Chunk(byteLength);
    chunks.push(chunk);
    pieces.push(chunk.bytes.subarray(0, usedBytes));
  }
  readChecked(fd, what, section, pieces);
  return new BlobPool(section.shape, chunks);
}

/** Of each chunk: its length, and how much of it is in use. */
function usedLengths({ chunkCount, chunk, offset, ownChunks }: BlobPoolShape) {
  const own = new Map(ownChunks);
  return Array.from({ length: chunkCount }, (_, index) => {
    const byteLength = own.get(index) ?? BLOB_CHUNK_BYTES;
    return { byteLength, usedBytes: index === chunk ? offset : byteLength };
  });
}

function readChecked(fd: number, what: string, section: Section, pieces: readonly Buffer[]): void {
  const sum = createHash('sha256');
  let at = section.at;
  for (const piece of pieces) {
    for (let done = 0; done < piece.length; ) {
      const bytesRead = readSync(fd, piece, done, piece.length - done, at + done);
      if (bytesRead === 0) throw new PackedFileError(`the section ${what} is cut off`);
      done += bytesRead;
    }
    sum.update(piece);
    at += piece.length;
  }
  if (at - section.at !== section.bytes || sum.digest('hex') !== section.sha256) {
    throw new PackedFileError(`the section ${what} does not match its checksum`);
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
