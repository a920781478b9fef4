/**
 * Lines of the feed that the installation vouches for, whoever carries them: the JSON, a tab, the signature. Which lines and what exactly
 * is signed: docs/specs/joining.md.
 */
import { createHash, type Hash, type KeyObject } from 'node:crypto';
import { isSignedBy } from '../util/ed25519.ts';

/** Kinds that mean nothing without a signature to who verifies. */
const SIGNED_KINDS: ReadonlySet<string> = new Set(['delta', 'deny', 'snapshot-end']);
/** The same in a session, where every line has a MAC: what becomes part of what is kept on disk and mirrored, which outlives the session. */
export const SIGNED_KINDS_IN_SESSION: ReadonlySet<string> = new Set(['delta', 'snapshot-end']);

/** What stands between the bytes of a stream and its frames, line by line, in order. */
export interface LineReader {
  /** To be said in `Hello`. */
  readonly sessionKey?: string;
  /** The line as protocol and signatures know it; '' when there is nothing in it. Throws `LineSignatureError`. */
  open(line: string): string;
  /** `kind` is that of the JSON in what `open` returned. Throws `LineSignatureError`; nothing of the stream may be used then. */
  verify(kind: string, line: string): void;
  /** The stream is over. */
  close?(): void;
}

/** Signs the lines of one stream, in the order in which they are written. */
export class LineSigner {
  readonly #sign: (text: string) => string;
  readonly #installation: string;
  readonly #kinds: ReadonlySet<string>;
  readonly #snapshot = new SnapshotDigest();

  constructor(installation: string, sign: (text: string) => string, kinds: ReadonlySet<string> = SIGNED_KINDS) {
    this.#installation = installation;
    this.#sign = sign;
    this.#kinds = kinds;
  }

  /** `json` is one line without its newline; what comes back is to be written instead. */
  sign(kind: string, json: string): string {
    const snapshot = this.#snapshot.add(kind, json);
    if (!this.#kinds.has(kind)) return json;
    return `${json}\t${this.#sign(lineText(this.#installation, json, snapshot))}`;
  }
}

/** A line that should be signed is not, or was changed on its way. */
export class LineSignatureError extends Error {
  override readonly name = 'LineSignatureError';
}

/** Reads the lines of one stream. Without a key nothing is verified, and signatures may be absent. */
export class LineVerifier implements LineReader {
  readonly #key: KeyObject | null;
  readonly #installation: string;
  readonly #kinds: ReadonlySet<string>;
  readonly #snapshot = new SnapshotDigest();

  constructor(installation: string, key: KeyObject | null, kinds: ReadonlySet<string> = SIGNED_KINDS) {
    this.#installation = installation;
    this.#key = key;
    this.#kinds = kinds;
  }

  /** The JSON of a line. */
  static jsonOf(line: string): string {
    const tab = line.indexOf('\t');
    return tab === -1 ? line : line.slice(0, tab);
  }

  open(line: string): string {
    return line;
  }

  verify(kind: string, line: string): void {
    if (this.#key === null) return;
    const json = LineVerifier.jsonOf(line);
    const snapshot = this.#snapshot.add(kind, json);
    if (!this.#kinds.has(kind)) return;
    const signature = line.slice(json.length + 1);
    if (!isSignedBy(lineText(this.#installation, json, snapshot), signature, this.#key)) {
      throw new LineSignatureError(
        signature === ''
          ? `a line of kind ${kind} is not signed by the installation`
          : `the signature of a line of kind ${kind} is wrong: it was changed on its way, or comes from another installation`,
      );
    }
  }
}

/** Of a snapshot only its last line is signed, for all of them. */
class SnapshotDigest {
  #hash: Hash | null = null;

  /** For `snapshot-end` the digest of all lines since `snapshot-begin`; '' when there was none. */
  add(kind: string, json: string): string | null {
    if (kind === 'snapshot-begin') this.#hash = createHash('sha256');
    if (kind === 'snapshot-end') {
      const digest = this.#hash?.digest('hex') ?? '';
      this.#hash = null;
      return digest;
    }
    // What is not part of the snapshot may stand between its lines.
    if (kind !== 'ping' && kind !== 'command' && kind !== 'deny') this.#hash?.update(json).update('\n');
    return null;
  }
}

function lineText(installation: string, json: string, snapshot: string | null): string {
  return snapshot === null
    ? `claviger-line-1\n${installation}\n${json}`
    : `claviger-snapshot-1\n${installation}\n${snapshot}\n${json}`;
}
