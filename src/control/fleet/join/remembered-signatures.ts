import type { KeyObject } from 'node:crypto';
import { signText } from '../../../util/ed25519.ts';

/** Most changes go to all joined workers in the same words, one behind the other. */
const TEXTS_MAX = 32;
/** Longer texts are signed each time. */
const TEXT_CHARS_MAX = 64 * 1024;

/** Signatures of what was signed last: a change is signed once, however many workers get it. */
export class RememberedSignatures {
  readonly #key: KeyObject;
  readonly #sign: (text: string, key: KeyObject) => string;
  /** In order of use. */
  readonly #byText = new Map<string, string>();

  constructor(key: KeyObject, sign: (text: string, key: KeyObject) => string = signText) {
    this.#key = key;
    this.#sign = sign;
  }

  readonly sign = (text: string): string => {
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const signature = this.#sign(text, this.#key);
    if (text.length > TEXT_CHARS_MAX) return signature;
    this.#byText.set(text, signature);
    if (this.#byText.size > TEXTS_MAX) this.#byText.delete(this.#byText.keys().next().value!);
    return signature;
  };
}
