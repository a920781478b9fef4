/**
 * The stream of one gateway process as a pure state machine: `step(state, event)` gives the next state and what to do. It holds no timer and
 * no socket; the states, events and the table below are explained in docs/specs/config-feed.md.
 */
import { denialName, isAccountKind } from '../../domain/account.ts';
import type { AccountChange, Change, Revision } from '../../domain/change.ts';
import { type DownFrame, ENTITIES_PER_FRAME_MAX, FEED_BACKLOG_BYTES_MAX } from '../../feed/protocol.ts';
import type { Stretch } from './change-tail.ts';
import { encodedChange } from './encoded-change.ts';

/**
 * catching-up: it is being sent what it missed; what is committed meanwhile waits. open: it has confirmed all that was sent. window: a delta
 * is on its way and not confirmed; what is committed meanwhile is gathered behind it. closed: nothing is sent any more.
 */
export type SubscriberPhase = 'catching-up' | 'open' | 'window' | 'closed';

/** Revisions `from`+1 .. `to` as the last state of each object in them: small enough for one frame. */
export interface Part {
  readonly from: Revision;
  readonly to: Revision;
  readonly changes: readonly Change[];
  /** Audit head (hex) at `to`; null where a long transaction had to be cut. */
  readonly head: string | null;
  readonly bytes: number;
  /** Keys, by digest, and accounts, by `accountKey`, that are refused at `to`. */
  readonly denied: readonly string[];
}

export interface SubscriberState {
  readonly phase: SubscriberPhase;
  readonly protocol: number;
  readonly epoch: number;
  /** Up to here everything has been written; null while it catches up. */
  readonly sent: Revision | null;
  /** What waits, oldest first, each where the one before ends. */
  readonly waiting: readonly Part[];
}

export type SubscriberEvent =
  /** Committed after the subscriber was registered. `nowMs` is wall clock: an expired key is a denied one. */
  | { readonly type: 'offered'; readonly stretch: Stretch; readonly nowMs: number }
  /** It has everything up to `rev`, and `missed` leads on from there. */
  | {
      readonly type: 'caught-up';
      readonly rev: Revision;
      readonly missed: readonly Stretch[];
      readonly nowMs: number;
    }
  | { readonly type: 'acknowledged'; readonly epoch: number; readonly rev: Revision }
  /** An unconfirmed delta has waited for `ACK_WINDOW_MAX_MS`. */
  | { readonly type: 'window-expired' }
  /** More bytes than `FEED_BACKLOG_BYTES_MAX` have been written and not read. */
  | { readonly type: 'overflow' }
  /** A last frame, then the end. */
  | { readonly type: 'finish'; readonly frame: DownFrame }
  | { readonly type: 'gone' };

export type SubscriberAction =
  | { readonly do: 'write-delta'; readonly epoch: number; readonly part: Part }
  | { readonly do: 'write-deny'; readonly epoch: number; readonly rev: Revision; readonly tokens: readonly string[] }
  /** `window-expired` is due in `ACK_WINDOW_MAX_MS`; replaces an earlier one. */
  | { readonly do: 'arm-window' }
  | { readonly do: 'disarm-window' }
  | { readonly do: 'end'; readonly frame: DownFrame }
  /** It starts again from its own revision. */
  | { readonly do: 'close'; readonly reason: string };

export interface SubscriberStep {
  readonly state: SubscriberState;
  readonly actions: readonly SubscriberAction[];
}

/** A delta may stay unconfirmed for so long; a gateway process that is well says within two seconds that it has applied it. */
export const ACK_WINDOW_MAX_MS = 10_000;
/** Changes that may wait for one subscriber, after those of the same object were put together. */
export const WAITING_CHANGES_MAX = 20_000;
/** Bytes of changes in one delta; the rest of the longest line is left for its frame. */
export const PART_BYTES_MAX = FEED_BACKLOG_BYTES_MAX / 2;

export function initialSubscriberState(protocol: number, epoch: number): SubscriberState {
  return { phase: 'catching-up', protocol, epoch, sent: null, waiting: [] };
}

export function step(state: SubscriberState, event: SubscriberEvent): SubscriberStep {
  return (SUBSCRIBER_TABLE[state.phase][event.type] as Handler<typeof event.type>)(state, event as never);
}

/** A ping that names the newest revision would claim something about changes that are held back. */
export function isBehind({ phase, waiting }: SubscriberState): boolean {
  return phase === 'window' && waiting.length > 0;
}

export type SubscriberEventName = SubscriberEvent['type'];
type Handler<Name extends SubscriberEventName> = (
  state: SubscriberState,
  event: Extract<SubscriberEvent, { type: Name }>,
) => SubscriberStep;
type Row = { readonly [Name in SubscriberEventName]: Handler<Name> };

const ignore = (state: SubscriberState): SubscriberStep => ({ state, actions: [] });

function closed(state: SubscriberState, ...actions: SubscriberAction[]): SubscriberStep {
  return { state: { ...state, phase: 'closed', waiting: [] }, actions: [{ do: 'disarm-window' }, ...actions] };
}

const close = (reason: string) => (state: SubscriberState) => closed(state, { do: 'close', reason });
const finish: Handler<'finish'> = (state, { frame }) => closed(state, { do: 'end', frame });
const gone = (state: SubscriberState) => closed(state);

/** It waits, and what it takes away is said at once. */
const wait: Handler<'offered'> = (state, { stretch, nowMs }) => {
  const reached = state.waiting.at(-1)?.to ?? state.sent ?? stretch.from;
  if (stretch.to <= reached) return ignore(state);
  if (stretch.from > reached) return GAP(state);
  const fresh = behind(stretch, reached);
  const waiting = append(state.waiting, fresh, nowMs);
  if (!isBounded(waiting)) return TOO_FAR_BEHIND(state);
  return { state: { ...state, waiting }, actions: denials({ ...state, waiting: partsOf(fresh, nowMs) }) };
};

const send: Handler<'offered'> = (state, { stretch, nowMs }) => {
  const sent = state.sent!;
  if (stretch.to <= sent) return ignore(state);
  if (stretch.from > sent) return GAP(state);
  return flush({ ...state, waiting: partsOf(behind(stretch, sent), nowMs) }, true);
};

const caughtUp: Handler<'caught-up'> = (state, { rev, missed, nowMs }) => {
  let waiting: readonly Part[] = [];
  for (const stretch of missed) waiting = append(waiting, stretch, nowMs);
  let reached = waiting.at(-1)?.to ?? rev;
  for (const part of state.waiting) {
    if (part.to <= reached) continue;
    if (part.from > reached) return GAP(state);
    waiting = append(waiting, behind(part, reached), nowMs);
    reached = part.to;
  }
  if (!isBounded(waiting)) return TOO_FAR_BEHIND(state);
  return flush({ ...state, phase: 'open', sent: rev, waiting }, true);
};

const acknowledged: Handler<'acknowledged'> = (state, { epoch, rev }) => {
  if (epoch !== state.epoch || rev < state.sent!) return ignore(state);
  const next = flush({ ...state, phase: 'open' }, false);
  return { state: next.state, actions: [{ do: 'disarm-window' }, ...next.actions] };
};

/** Can not happen while the tail hands on every stretch; starting again is safe, skipping is not. */
const GAP = close('there is a gap between what it was sent and what is new');
const TOO_FAR_BEHIND = close('too much waits for it');
const UNCONFIRMED = close(`it has not confirmed a delta for ${ACK_WINDOW_MAX_MS} ms`);
const UNREAD = close('it does not read what it is sent');

/** Total: every phase answers every event. */
export const SUBSCRIBER_TABLE: { readonly [Phase in SubscriberPhase]: Row } = {
  'catching-up': {
    offered: wait,
    'caught-up': caughtUp,
    acknowledged: ignore,
    'window-expired': ignore,
    overflow: UNREAD,
    finish,
    gone,
  },
  open: {
    offered: send,
    'caught-up': ignore,
    acknowledged: ignore,
    'window-expired': ignore,
    overflow: UNREAD,
    finish,
    gone,
  },
  window: {
    offered: wait,
    'caught-up': ignore,
    acknowledged,
    'window-expired': UNCONFIRMED,
    overflow: UNREAD,
    finish,
    gone,
  },
  closed: {
    offered: ignore,
    'caught-up': ignore,
    acknowledged: ignore,
    'window-expired': ignore,
    overflow: ignore,
    finish: ignore,
    gone: ignore,
  },
};

/** Protocol 1 knows no window: everything goes out. Otherwise the oldest part does, and `denyRest` says whether denials behind it are new. */
function flush(state: SubscriberState, denyRest: boolean): SubscriberStep {
  const [first, ...rest] = state.waiting;
  if (first === undefined) return { state, actions: [] };
  const { epoch, protocol } = state;
  if (protocol < 2) {
    const actions = state.waiting.map((part): SubscriberAction => ({ do: 'write-delta', epoch, part }));
    return { state: { ...state, sent: state.waiting.at(-1)!.to, waiting: [] }, actions };
  }
  const next: SubscriberState = { ...state, phase: 'window', sent: first.to, waiting: rest };
  const part = withDenialsOf(rest, first);
  return {
    state: next,
    actions: [{ do: 'write-delta', epoch, part }, { do: 'arm-window' }, ...(denyRest ? denials(next) : [])],
  };
}

/** Of all that waits. Denials only ever take away, so they may come before what lies in between. */
function denials({ protocol, epoch, waiting }: SubscriberState): SubscriberAction[] {
  if (protocol < 2) return [];
  return waiting
    .filter(({ denied }) => denied.length > 0)
    .map(({ to, denied }) => ({ do: 'write-deny', epoch, rev: to, tokens: denied }));
}

/** What is refused later must not be allowed once more by an earlier state that comes after its denial. */
function withDenialsOf(later: readonly Part[], part: Part): Part {
  const denied = new Set(later.flatMap((one) => one.denied));
  if (denied.size === 0) return part;
  const changes = part.changes.flatMap((change) => (denied.has(denialName(change)) ? blocking(change) : change));
  return { ...part, changes };
}

/** Nothing for an account that is gone in between: what it becomes is in a later part. */
function blocking(change: Change): Change | [] {
  if (change.kind === 'model' || change.kind === 'setting') return change;
  if (change.value === null) return change.kind === 'key' ? change : [];
  return { ...change, value: { ...change.value, blocked: true } } as Change;
}

function isBounded(waiting: readonly Part[]): boolean {
  let changes = 0;
  let bytes = 0;
  for (const part of waiting) {
    changes += part.changes.length;
    bytes += part.bytes;
  }
  return changes <= WAITING_CHANGES_MAX && bytes <= FEED_BACKLOG_BYTES_MAX;
}

type Piece = Pick<Part, 'from' | 'to' | 'changes' | 'head'>;

/** What of it lies behind `rev`. */
function behind<One extends Piece>(piece: One, rev: Revision): One {
  if (piece.from >= rev) return piece;
  return { ...piece, from: rev, changes: piece.changes.filter((change) => change.rev > rev) };
}

/** Puts it behind what waits, together with the newest part where both fit into one. */
function append(waiting: readonly Part[], piece: Piece, nowMs: number): readonly Part[] {
  const parts = [...waiting];
  for (const part of partsOf(piece, nowMs)) {
    const last = parts.at(-1);
    const both = last === undefined ? null : partOf({ ...part, from: last.from }, [last, part], nowMs);
    if (both !== null && fits(both)) parts[parts.length - 1] = both;
    else parts.push(part);
  }
  return parts;
}

/** One part, or several for more than fits: then all but the last end at one of its changes, where the head is not known. */
function partsOf(piece: Piece, nowMs: number): Part[] {
  const whole = partOf(piece, [piece], nowMs);
  if (fits(whole)) return [whole];
  const parts: Part[] = [];
  let from = piece.from;
  let changes: Change[] = [];
  let bytes = 0;
  for (const change of piece.changes) {
    const size = encodedChange(change).length;
    // One revision stays in one part: a part ends at a revision.
    const isNewRevision = changes.at(-1)?.rev !== change.rev;
    if (
      changes.length > 0 &&
      isNewRevision &&
      (changes.length >= ENTITIES_PER_FRAME_MAX || bytes + size > PART_BYTES_MAX)
    ) {
      const to = changes.at(-1)!.rev;
      parts.push(partOf({ from, to, head: null }, [{ changes }], nowMs));
      from = to;
      changes = [];
      bytes = 0;
    }
    changes.push(change);
    bytes += size;
  }
  parts.push(partOf({ from, to: piece.to, head: piece.head }, [{ changes }], nowMs));
  return parts;
}

/** The last state of each object, in order of revision. */
function partOf(
  { from, to, head }: Omit<Piece, 'changes'>,
  pieces: readonly Pick<Piece, 'changes'>[],
  nowMs: number,
): Part {
  const last = new Map<string, Change>();
  for (const { changes } of pieces) {
    for (const change of changes) {
      const name = `${change.kind} ${change.id}`;
      last.delete(name);
      last.set(name, change);
    }
  }
  const changes = [...last.values()];
  let bytes = 0;
  for (const change of changes) bytes += encodedChange(change).length;
  const denied = changes.filter((change) => isDenial(change, nowMs)).map(denialName);
  return { from, to, changes, head, bytes, denied };
}

function fits({ changes, bytes }: Part): boolean {
  return changes.length <= ENTITIES_PER_FRAME_MAX && bytes <= PART_BYTES_MAX;
}

/** After it the key or account is refused, whatever it was before. A deleted account refuses nobody. */
function isDenial(change: Change, nowMs: number): boolean {
  if (isAccountKind(change.kind)) return (change as AccountChange).value?.blocked === true;
  if (change.kind !== 'key') return false;
  if (change.value === null || change.value.blocked) return true;
  return change.value.expiresAtMs !== null && change.value.expiresAtMs <= nowMs;
}
