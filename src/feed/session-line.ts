/** Lines of a stream with a MAC over each and its number: what is missing, added, moved or changed is noticed at the next line. */
import { createHmac } from 'node:crypto';
import { isSameText } from '../util/same-text.ts';
import { LineSignatureError } from './signed-line.ts';

/** Writes the lines of one stream. */
export class LineSealer {
  readonly #key: Buffer;
  #number = 0;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** `text` is a line without its newline, '' for a sign of life; what comes back is to be written instead, in this order. */
  seal(text: string): string {
    return `${text}\t${macOf(this.#key, this.#number++, text)}`;
  }
}

/** Reads the lines of one stream. */
export class LineOpener {
  readonly #key: Buffer;
  #number = 0;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** The line as it was sealed. Throws `LineSignatureError`; the stream is over then. */
  open(line: string): string {
    const { text, mac } = splitSealed(line);
    if (!isSameText(mac, macOf(this.#key, this.#number, text))) {
      throw new LineSignatureError(
        mac === ''
          ? `line ${this.#number} of the stream has no MAC`
          : `line ${this.#number} of the stream is not the one that was written there: it was changed on its way, or others are missing or added`,
      );
    }
    this.#number += 1;
    return text;
  }
}

/** The MAC stands behind the last tab; without one there is none. */
export function splitSealed(line: string): { readonly text: string; readonly mac: string } {
  const tab = line.lastIndexOf('\t');
  return tab === -1 ? { text: line, mac: '' } : { text: line.slice(0, tab), mac: line.slice(tab + 1) };
}

function macOf(key: Buffer, number: number, text: string): string {
  return createHmac('sha256', key).update(`claviger-session-line-1\n${number}\n`).update(text).digest('base64url');
}
