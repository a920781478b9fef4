import type { Change } from '../../domain/change.ts';
import { encodeDownFrame } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';

/** By change, because the same one goes to every gateway process; gone when the change is. */
const texts = new WeakMap<Change, string>();

/** The JSON of a change, made once however many subscribers get it. */
export function encodedChange(change: Change): string {
  let text = texts.get(change);
  if (text === undefined) {
    text = JSON.stringify(change);
    texts.set(change, text);
  }
  return text;
}

/** As `encodeDownFrame`, and the same text; the changes in a delta are not made into text again. */
export function encodeFrame(frame: DownFrame): string {
  if (frame.t !== 'delta') return encodeDownFrame(frame);
  const { epoch, from, to, changes, head } = frame;
  const tail = head === undefined ? '' : `,"head":${JSON.stringify(head)}`;
  return `{"t":"delta","epoch":${epoch},"from":${from},"to":${to},"changes":[${changes.map(encodedChange).join(',')}]${tail}}\n`;
}
