import type { KeyObject } from 'node:crypto';
import { type SessionKeys, SessionOffer, type SessionParties } from '../../feed/session-keys.ts';
import { LineOpener, splitSealed } from '../../feed/session-line.ts';
import { type LineReader, LineSignatureError, LineVerifier, SIGNED_KINDS_IN_SESSION } from '../../feed/signed-line.ts';

export interface SessionLinesOptions {
  readonly parties: SessionParties;
  readonly installationKey: KeyObject;
  /** Requests may use these keys until what it returns is called. */
  readonly onAgreed: (keys: SessionKeys) => () => void;
}

type State =
  | { readonly phase: 'offered'; readonly offer: SessionOffer }
  | { readonly phase: 'agreed'; readonly opener: LineOpener; readonly end: () => void }
  | { readonly phase: 'over' };

/**
 * Reads one stream of a joined worker: keys are agreed in its first line, and from then on every line is the one that was written there, or
 * the stream is over. The table of its states: docs/specs/joining.md.
 */
export class SessionLines implements LineReader {
  readonly sessionKey: string;
  readonly #options: SessionLinesOptions;
  readonly #verifier: LineVerifier;
  #state: State;

  constructor(options: SessionLinesOptions) {
    const offer = new SessionOffer();
    this.sessionKey = offer.sessionKey;
    this.#options = options;
    this.#verifier = new LineVerifier(options.parties.installation, options.installationKey, SIGNED_KINDS_IN_SESSION);
    this.#state = { phase: 'offered', offer };
  }

  open(line: string): string {
    try {
      if (this.#state.phase === 'over') throw new LineSignatureError('the stream is over');
      if (this.#state.phase === 'agreed') return this.#state.opener.open(line);
      this.#agree(this.#state.offer, line);
      // The first line says nothing else.
      return '';
    } catch (error) {
      this.close();
      throw error;
    }
  }

  verify(kind: string, line: string): void {
    try {
      this.#verifier.verify(kind, line);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    const state = this.#state;
    this.#state = { phase: 'over' };
    if (state.phase === 'agreed') state.end();
  }

  #agree(offer: SessionOffer, line: string): void {
    const { installationKey, onAgreed, parties } = this.#options;
    const keys = offer.accept(splitSealed(line).text, parties, installationKey);
    const opener = new LineOpener(keys.lines);
    opener.open(line);
    this.#state = { phase: 'agreed', opener, end: onAgreed(keys) };
  }
}
