/** Bodies of snapshot files of formats 1 and 2: lines as the feed has them. Only read: version 0.1.0 wrote format 1. */
import { createHash } from 'node:crypto';
import { parseDownFrame } from '../../feed/codec.ts';
import type { SnapshotCollector } from './principal-store.ts';

/** The part of the header that says what the body holds. */
export interface LineBody {
  readonly keyCount: number;
  readonly deletedCount: number;
  readonly bodyBytes: number;
  readonly bodySha256: string;
}

/** Checks all of it before anything goes into `collector`; returns what is wrong with it, or null. */
export function readLineBody(body: Buffer, expected: LineBody, collector: SnapshotCollector): string | null {
  if (body.length !== expected.bodyBytes) {
    return `holds ${body.length} bytes after its header, not ${expected.bodyBytes}`;
  }
  if (createHash('sha256').update(body).digest('hex') !== expected.bodySha256) return 'does not match its checksum';
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
      return `holds a line of kind ${frame?.t ?? 'unknown'}`;
    }
  }
  return keyCount === expected.keyCount && deletedCount === expected.deletedCount
    ? null
    : `holds ${keyCount} keys, not ${expected.keyCount}`;
}
