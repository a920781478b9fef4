/**
 * The feed client as a pure state machine: `step(state, event)` gives the next state and what to do. It holds no timer, no
 * socket and no data; the states, events and the table below are explained in docs/specs/config-feed.md.
 */
import type { Account } from '../../domain/account.ts';
import type { Change, Position } from '../../domain/change.ts';
import type { StoredModel } from '../../domain/stored-model.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import { isBefore } from '../../feed/codec.ts';
import { type DownFrame, FEED_PROTOCOL, type FleetCommand, type KeyWithSpend } from '../../feed/protocol.ts';

/**
 * idle: not started. dialling: the request is on its way. greeting: connected, `welcome` awaited. snapshot: a snapshot is
 * being received. live: deltas and pings. waiting: until the next attempt. ended: never again in this process.
 */
export type FeedPhase = 'idle' | 'dialling' | 'greeting' | 'snapshot' | 'live' | 'waiting' | 'ended';

export interface FeedState {
  readonly phase: FeedPhase;
  /** What is applied. Never goes backwards. */
  readonly have: Position | null;
  /** Attempts since the feed last confirmed anything; shapes the back-off. */
  readonly attempt: number;
  /** The snapshot being received; null before its `snapshot-begin`. */
  readonly incoming: IncomingSnapshot | null;
  /** Pings in a row that know a revision which has not arrived. */
  readonly pingsAhead: number;
  /** The next hello says that there is nothing, so that a whole snapshot comes. What is applied stays in force until then. */
  readonly resync: boolean;
}

export interface IncomingSnapshot {
  readonly position: Position;
  readonly keyCount: number;
  readonly keysSeen: number;
  readonly accountsSeen: number;
}

export type FeedEvent =
  | { readonly type: 'start' }
  /** The back-off is over. */
  | { readonly type: 'retry' }
  | { readonly type: 'connected' }
  /** The connection failed, ended, was silent for too long, or carried something unreadable. */
  | { readonly type: 'lost'; readonly reason: string }
  | { readonly type: 'stop' }
  | { readonly type: 'frame'; readonly frame: DownFrame };

export type FeedAction =
  | { readonly do: 'dial'; readonly have: Position | null }
  | { readonly do: 'hang-up' }
  /** Come back with `retry` after a random time of at most the back-off of `attempt`, and not before `atLeastMs`. */
  | { readonly do: 'wait'; readonly attempt: number; readonly atLeastMs: number }
  | { readonly do: 'begin-snapshot'; readonly newEpoch: boolean }
  | { readonly do: 'add-keys'; readonly keys: readonly KeyWithSpend[] }
  | { readonly do: 'add-deleted-keys'; readonly tokens: readonly string[] }
  | { readonly do: 'add-settings'; readonly settings: Readonly<Record<string, JsonValue>> }
  | { readonly do: 'add-models'; readonly models: readonly StoredModel[] }
  | { readonly do: 'add-accounts'; readonly accounts: readonly Account[] }
  /** `newEpoch`: history was replaced, and what was denied in the one before must not be allowed by it. */
  | {
      readonly do: 'commit-snapshot';
      readonly position: Position;
      readonly head: string | null;
      readonly newEpoch: boolean;
    }
  | {
      readonly do: 'apply-delta';
      readonly from: Position;
      readonly to: Position;
      readonly changes: readonly Change[];
      readonly head: string | null;
    }
  | { readonly do: 'deny'; readonly denial: Omit<Extract<DownFrame, { t: 'deny' }>, 't'> }
  | { readonly do: 'command'; readonly command: FleetCommand }
  | { readonly do: 'confirm'; readonly dbAgeMs: number }
  | { readonly do: 'report'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string }
  | { readonly do: 'foreign-installation'; readonly local: string; readonly other: string }
  | { readonly do: 'superseded' };

export interface FeedStep {
  readonly state: FeedState;
  readonly actions: readonly FeedAction[];
}

/** So many pings in a row may know of a revision that has not arrived; then the stream is taken to have lost it. */
export const PINGS_AHEAD_MAX = 3;
/** So many dials in a row may fail in silence. */
export const DIALS_BEFORE_WARNING = 8;
/** A `goaway` may not keep a gateway away for longer. */
export const GOAWAY_MS_MAX = 60_000;

/** `resync`: what is applied was written by an older version and lacks what that did not know. */
export function initialFeedState(have: Position | null, resync = false): FeedState {
  return { phase: 'idle', have, attempt: 0, incoming: null, pingsAhead: 0, resync };
}

export function step(state: FeedState, event: FeedEvent): FeedStep {
  const name = event.type === 'frame' ? event.frame.t : event.type;
  return (FEED_TABLE[state.phase][name] as Handler<typeof name>)(state, event as never);
}

export type FeedEventName = Exclude<FeedEvent['type'], 'frame'> | DownFrame['t'];

type EventNamed<Name extends FeedEventName> = Name extends DownFrame['t']
  ? { readonly type: 'frame'; readonly frame: Extract<DownFrame, { t: Name }> }
  : Extract<FeedEvent, { type: Name }>;

type Handler<Name extends FeedEventName> = (state: FeedState, event: EventNamed<Name>) => FeedStep;
type Row = { readonly [Name in FeedEventName]: Handler<Name> };

const ignore = (state: FeedState): FeedStep => ({ state, actions: [] });

const dial = (state: FeedState): FeedStep => ({
  state: { ...state, phase: 'dialling', incoming: null, pingsAhead: 0 },
  actions: [{ do: 'dial', have: state.resync ? null : state.have }],
});

/** Back to `waiting`; the next attempt says hello with what is applied by then. */
function reconnect(state: FeedState, report: FeedAction | null, atLeastMs = 0): FeedStep {
  return {
    state: { ...state, phase: 'waiting', attempt: state.attempt + 1, incoming: null, pingsAhead: 0 },
    actions: [
      ...(report === null ? [] : [report]),
      { do: 'hang-up' },
      { do: 'wait', attempt: state.attempt, atLeastMs },
    ],
  };
}

function report(level: 'debug' | 'info' | 'warn' | 'error', message: string): FeedAction {
  return { do: 'report', level, message };
}

const lost: Handler<'lost'> = (state, { reason }) => {
  // A control process that starts beside us takes a moment. The first failure of a connection is worth a line and so is one that lasts; the
  // hundredth of the same outage is not.
  const isWorthALine = state.attempt === (state.phase === 'dialling' ? DIALS_BEFORE_WARNING : 0);
  return reconnect(state, report(isWorthALine ? 'warn' : 'debug', `The feed is not available: ${reason}`));
};

const outOfPlace = (state: FeedState, event: { readonly frame: DownFrame }): FeedStep =>
  reconnect(state, report('error', `The feed sent ${event.frame.t} while ${state.phase}; connecting again`));

const ended = (state: FeedState, ...actions: FeedAction[]): FeedStep => ({
  state: { ...state, phase: 'ended', incoming: null },
  actions: [{ do: 'hang-up' }, ...actions],
});

const stop: Handler<'stop'> = (state) => ended(state);
const superseded: Handler<'superseded'> = (state) => ended(state, { do: 'superseded' });

const goaway: Handler<'goaway'> = (state, { frame }) =>
  reconnect(
    state,
    report('info', 'The control process asked to connect again'),
    Math.min(frame.retryAfterMs, GOAWAY_MS_MAX),
  );

const welcome: Handler<'welcome'> = (state, { frame }) => {
  if (frame.protocol !== FEED_PROTOCOL) {
    const message = `The control process speaks feed protocol ${frame.protocol} and this gateway ${FEED_PROTOCOL}; upgrade the older one`;
    return reconnect(state, report('error', message));
  }
  const refusal = refuse(state, frame.position);
  if (refusal !== null) return refusal;
  if (frame.mode === 'snapshot') return { state: { ...state, phase: 'snapshot' }, actions: [] };
  if (state.have === null || state.have.epoch !== frame.position.epoch) {
    return reconnect(
      state,
      report('error', 'The feed offered deltas on top of something that this gateway does not have'),
    );
  }
  return { state: { ...state, phase: 'live' }, actions: [] };
};

const snapshotBegin: Handler<'snapshot-begin'> = (state, event) => {
  const { position, keyCount } = event.frame;
  if (state.incoming !== null) return outOfPlace(state, event);
  return (
    refuse(state, position) ?? {
      state: { ...state, incoming: { position, keyCount, keysSeen: 0, accountsSeen: 0 } },
      actions: [{ do: 'begin-snapshot', newEpoch: isNewEpoch(state, position) }],
    }
  );
};

const keys: Handler<'keys'> = (state, event) => {
  if (state.incoming === null) return outOfPlace(state, event);
  const keysSeen = state.incoming.keysSeen + event.frame.keys.length;
  return {
    state: { ...state, incoming: { ...state.incoming, keysSeen } },
    actions: [{ do: 'add-keys', keys: event.frame.keys }],
  };
};

const deletedKeys: Handler<'deleted-keys'> = (state, event) =>
  state.incoming === null
    ? outOfPlace(state, event)
    : { state, actions: [{ do: 'add-deleted-keys', tokens: event.frame.tokens }] };

const settings: Handler<'settings'> = (state, event) =>
  state.incoming === null
    ? outOfPlace(state, event)
    : { state, actions: [{ do: 'add-settings', settings: event.frame.settings }] };

const models: Handler<'models'> = (state, event) =>
  state.incoming === null
    ? outOfPlace(state, event)
    : { state, actions: [{ do: 'add-models', models: event.frame.models }] };

const accounts: Handler<'accounts'> = (state, event) => {
  const { incoming } = state;
  if (incoming === null) return outOfPlace(state, event);
  const accountsSeen = incoming.accountsSeen + event.frame.accounts.length;
  return {
    state: { ...state, incoming: { ...incoming, accountsSeen } },
    actions: [{ do: 'add-accounts', accounts: event.frame.accounts }],
  };
};

/** Of another epoch, or of what is applied already, it says nothing new. */
const deny: Handler<'deny'> = (state, { frame }) =>
  state.have === null || frame.epoch !== state.have.epoch || frame.rev <= state.have.rev
    ? ignore(state)
    : { state, actions: [{ do: 'deny', denial: { epoch: frame.epoch, rev: frame.rev, tokens: frame.tokens } }] };

const command: Handler<'command'> = (state, { frame }) =>
  frame.command === 'resync'
    ? reconnect({ ...state, resync: true }, report('info', 'A whole snapshot was asked for; connecting again'))
    : { state, actions: [{ do: 'command', command: frame.command }] };

function isNewEpoch({ have }: FeedState, position: Position): boolean {
  return have !== null && position.epoch > have.epoch;
}

const snapshotEnd: Handler<'snapshot-end'> = (state, event) => {
  const { incoming } = state;
  if (incoming === null) return outOfPlace(state, event);
  const { position } = event.frame;
  const samePosition =
    position.installation === incoming.position.installation &&
    position.epoch === incoming.position.epoch &&
    position.rev === incoming.position.rev;
  const { accountsSeen, keyCount, keysSeen } = incoming;
  const { accountCount = 0 } = event.frame;
  if (!samePosition || keysSeen !== keyCount || accountsSeen !== accountCount) {
    const message = `A snapshot came with ${keysSeen} of ${keyCount} keys and ${accountsSeen} of ${accountCount} accounts, and is not used`;
    return reconnect(state, report('error', message));
  }
  return {
    state: { ...state, phase: 'live', have: position, incoming: null, resync: false },
    actions: [
      { do: 'commit-snapshot', position, head: event.frame.head ?? null, newEpoch: isNewEpoch(state, position) },
    ],
  };
};

const delta: Handler<'delta'> = (state, { frame }) => {
  const from = state.have;
  const continues = from !== null && frame.epoch === from.epoch && frame.from === from.rev && frame.to >= frame.from;
  if (!continues || !areOrdered(frame.changes, frame.from, frame.to)) {
    const has = from === null ? 'nothing' : `${from.epoch}/${from.rev}`;
    const message = `A delta of ${frame.epoch}/${frame.from} to ${frame.to} does not continue ${has}; connecting again`;
    return reconnect(state, report('warn', message));
  }
  const to = { ...from, rev: frame.to };
  return {
    state: { ...state, have: to, pingsAhead: 0 },
    actions: [{ do: 'apply-delta', from, to, changes: frame.changes, head: frame.head ?? null }],
  };
};

/** Only a ping whose revision is applied says anything about how old our knowledge is. */
const ping: Handler<'ping'> = (state, { frame }) => {
  if (state.have !== null && frame.rev <= state.have.rev) {
    return { state: { ...state, attempt: 0, pingsAhead: 0 }, actions: [{ do: 'confirm', dbAgeMs: frame.dbAgeMs }] };
  }
  const pingsAhead = state.pingsAhead + 1;
  if (pingsAhead < PINGS_AHEAD_MAX) return { state: { ...state, pingsAhead }, actions: [] };
  return reconnect(state, report('warn', `Revision ${frame.rev} has not arrived; connecting again`));
};

/** Another installation ends the client; an older position than ours is never taken. Null: neither. */
function refuse(state: FeedState, offered: Position): FeedStep | null {
  const { have } = state;
  if (have === null) return null;
  if (offered.installation !== have.installation) {
    return ended(state, { do: 'foreign-installation', local: have.installation, other: offered.installation });
  }
  if (!isBefore(offered, have)) return null;
  const message =
    `The database is at ${offered.epoch}/${offered.rev}, which is before ${have.epoch}/${have.rev} that this gateway has seen. ` +
    'It keeps what it has until the control plane has begun a new epoch.';
  return reconnect(state, report('error', message));
}

function areOrdered(changes: readonly Change[], from: number, to: number): boolean {
  let last = from;
  for (const { rev } of changes) {
    // One revision may hold several changes.
    if (rev < last || rev <= from || rev > to) return false;
    last = rev;
  }
  return true;
}

/** What happens in each phase to frames of a connection that was hung up: they were on their way and mean nothing now. */
const IGNORED_FRAMES = {
  welcome: ignore,
  'snapshot-begin': ignore,
  keys: ignore,
  'deleted-keys': ignore,
  settings: ignore,
  models: ignore,
  accounts: ignore,
  'snapshot-end': ignore,
  delta: ignore,
  deny: ignore,
  command: ignore,
  ping: ignore,
  superseded: ignore,
  goaway: ignore,
} as const;

const MISPLACED_FRAMES = {
  welcome: outOfPlace,
  'snapshot-begin': outOfPlace,
  keys: outOfPlace,
  'deleted-keys': outOfPlace,
  settings: outOfPlace,
  models: outOfPlace,
  accounts: outOfPlace,
  'snapshot-end': outOfPlace,
  delta: outOfPlace,
  deny: outOfPlace,
  command,
  ping: outOfPlace,
  superseded,
  goaway,
} as const;

/** Total: every phase answers every event. */
export const FEED_TABLE: { readonly [Phase in FeedPhase]: Row } = {
  idle: { ...IGNORED_FRAMES, start: dial, retry: ignore, connected: ignore, lost: ignore, stop },
  dialling: {
    ...MISPLACED_FRAMES,
    start: ignore,
    retry: ignore,
    connected: (state) => ({ state: { ...state, phase: 'greeting' }, actions: [] }),
    lost,
    stop,
  },
  greeting: {
    ...MISPLACED_FRAMES,
    start: ignore,
    retry: ignore,
    connected: ignore,
    lost,
    stop,
    welcome,
    // A sign of life while the control process waits for its database, or for a place to send a snapshot.
    ping: ignore,
    // What is in force until the snapshot is there must not allow what is refused by now.
    deny,
  },
  snapshot: {
    ...MISPLACED_FRAMES,
    start: ignore,
    retry: ignore,
    connected: ignore,
    lost,
    stop,
    'snapshot-begin': snapshotBegin,
    keys,
    'deleted-keys': deletedKeys,
    settings,
    models,
    accounts,
    'snapshot-end': snapshotEnd,
    // A sign of life while a long snapshot is put together; it confirms nothing yet.
    ping: ignore,
    deny,
  },
  live: { ...MISPLACED_FRAMES, start: ignore, retry: ignore, connected: ignore, lost, stop, delta, deny, ping },
  waiting: { ...IGNORED_FRAMES, start: ignore, retry: dial, connected: ignore, lost: ignore, stop },
  ended: { ...IGNORED_FRAMES, start: ignore, retry: ignore, connected: ignore, lost: ignore, stop: ignore },
};
