import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accountOf } from '../../../tests/support/accounts.ts';
import { pick } from '../../../tests/support/length.ts';
import { at, INSTALLATION, keyChange, principalOf } from '../../../tests/support/principals.ts';
import type { Position } from '../../domain/change.ts';
import { isBefore } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import {
  DIALS_BEFORE_WARNING,
  FEED_TABLE,
  type FeedAction,
  type FeedEvent,
  type FeedEventName,
  type FeedPhase,
  type FeedState,
  GOAWAY_MS_MAX,
  initialFeedState,
  PINGS_AHEAD_MAX,
  step,
} from './feed-state.ts';

const frame = (value: DownFrame): FeedEvent => ({ type: 'frame', frame: value });
const welcome = (mode: 'snapshot' | 'delta', position: Position): FeedEvent =>
  frame({ t: 'welcome', protocol: 2, position, mode });
const delta = (from: number, to: number, epoch = 1): FeedEvent =>
  frame({ t: 'delta', epoch, from, to, changes: to > from ? [keyChange(to, to)] : [] });
const ping = (rev: number, dbAgeMs = 3): FeedEvent => frame({ t: 'ping', rev, dbAgeMs });

function play(state: FeedState, ...events: FeedEvent[]): { state: FeedState; actions: FeedAction[] } {
  const actions: FeedAction[] = [];
  for (const event of events) {
    const next = step(state, event);
    state = next.state;
    actions.push(...next.actions);
  }
  return { state, actions };
}

const did = (actions: readonly FeedAction[]): string[] => actions.map((action) => action.do);

/** Connected, with `rev` applied. */
function live(rev: number): FeedState {
  const { state } = play(
    initialFeedState(at(rev)),
    { type: 'start' },
    { type: 'connected' },
    welcome('delta', at(rev)),
  );
  expect(state.phase).toBe('live');
  return state;
}

function snapshotEvents(position: Position, keyCount = 1): FeedEvent[] {
  return [
    welcome('snapshot', position),
    frame({ t: 'snapshot-begin', position, keyCount }),
    frame({ t: 'settings', settings: { a: 1 } }),
    frame({ t: 'keys', keys: [{ principal: principalOf('a'), spendNano: '0' }] }),
    frame({ t: 'deleted-keys', tokens: [] }),
    frame({ t: 'snapshot-end', position }),
  ];
}

describe('the table', () => {
  it('has a cell for every phase and event', () => {
    const events = Object.keys(FEED_TABLE.idle).sort();
    expect(events).toHaveLength(19);
    expect(Object.keys(FEED_TABLE)).toHaveLength(7);
    for (const row of Object.values(FEED_TABLE)) expect(Object.keys(row).sort()).toEqual(events);
  });

  const anyEvent: { readonly [Name in FeedEventName]: FeedEvent } = {
    start: { type: 'start' },
    retry: { type: 'retry' },
    connected: { type: 'connected' },
    lost: { type: 'lost', reason: 'x' },
    stop: { type: 'stop' },
    welcome: welcome('delta', at(5)),
    'snapshot-begin': frame({ t: 'snapshot-begin', position: at(5), keyCount: 0 }),
    keys: frame({ t: 'keys', keys: [] }),
    'deleted-keys': frame({ t: 'deleted-keys', tokens: [] }),
    settings: frame({ t: 'settings', settings: {} }),
    models: frame({ t: 'models', models: [] }),
    accounts: frame({ t: 'accounts', accounts: [] }),
    'snapshot-end': frame({ t: 'snapshot-end', position: at(5) }),
    delta: delta(5, 6),
    deny: frame({ t: 'deny', epoch: 1, rev: 6, tokens: [] }),
    command: frame({ t: 'command', command: 'resync' }),
    ping: ping(5),
    superseded: frame({ t: 'superseded' }),
    goaway: frame({ t: 'goaway', retryAfterMs: 10 }),
  };

  /** The phase after an event, with revision 5 applied and, in `snapshot`, `snapshot-begin` and all keys received. */
  const documented: { readonly [Phase in FeedPhase]: { readonly [Name in FeedEventName]?: FeedPhase } } = {
    idle: { start: 'dialling', stop: 'ended' },
    dialling: { ...toWaiting(), connected: 'greeting', superseded: 'ended', stop: 'ended' },
    greeting: {
      ...toWaiting(),
      welcome: 'live',
      ping: 'greeting',
      deny: 'greeting',
      superseded: 'ended',
      stop: 'ended',
    },
    snapshot: {
      ...toWaiting(),
      keys: 'snapshot',
      'deleted-keys': 'snapshot',
      settings: 'snapshot',
      models: 'snapshot',
      accounts: 'snapshot',
      'snapshot-end': 'live',
      ping: 'snapshot',
      deny: 'snapshot',
      superseded: 'ended',
      stop: 'ended',
    },
    live: {
      ...toWaiting(),
      delta: 'live',
      deny: 'live',
      ping: 'live',
      superseded: 'ended',
      stop: 'ended',
    },
    waiting: { retry: 'dialling', stop: 'ended' },
    ended: {},
  };

  function toWaiting() {
    return {
      lost: 'waiting',
      welcome: 'waiting',
      'snapshot-begin': 'waiting',
      keys: 'waiting',
      'deleted-keys': 'waiting',
      settings: 'waiting',
      models: 'waiting',
      accounts: 'waiting',
      'snapshot-end': 'waiting',
      delta: 'waiting',
      deny: 'waiting',
      command: 'waiting',
      ping: 'waiting',
      goaway: 'waiting',
    } as const;
  }

  const cells = Object.keys(FEED_TABLE).flatMap((phase) =>
    Object.keys(anyEvent).map((name) => [phase, name] as [FeedPhase, FeedEventName]),
  );

  it.each(cells)('leads from %s on %s to the phase of the specification', (phase, name) => {
    const incoming = phase === 'snapshot' ? { position: at(5), keyCount: 0, keysSeen: 0, accountsSeen: 0 } : null;
    const state: FeedState = { phase, have: at(5), attempt: 0, incoming, pingsAhead: 0, resync: false };
    const next = step(state, anyEvent[name]);
    expect(next.state.phase).toBe(documented[phase][name] ?? phase);
    if (documented[phase][name] === undefined) expect(next).toEqual({ state, actions: [] });
  });
});

describe('step', () => {
  it('says at hello what is applied', () => {
    expect(play(initialFeedState(at(7)), { type: 'start' }).actions).toEqual([{ do: 'dial', have: at(7) }]);
    expect(play(initialFeedState(null), { type: 'start' }).actions).toEqual([{ do: 'dial', have: null }]);
    const after = play(live(7), delta(7, 9), { type: 'lost', reason: 'x' }, { type: 'retry' });
    expect(after.actions.at(-1)).toEqual({ do: 'dial', have: at(9) });
  });

  it('commits no snapshot in which accounts are missing', () => {
    const start = play(initialFeedState(null), { type: 'start' }, { type: 'connected' });
    const [first, second, ...rest] = snapshotEvents(at(3));
    const team = frame({ t: 'accounts', accounts: [accountOf('team', 't')] });
    const end = frame({ t: 'snapshot-end', position: at(3), accountCount: 1 });
    const whole = play(start.state, first!, second!, team, ...rest.slice(0, -1), end);
    expect(did(whole.actions)).toContain('add-accounts');
    expect(whole.state).toMatchObject({ phase: 'live', have: at(3) });
    const cut = play(start.state, first!, second!, ...rest.slice(0, -1), end);
    expect(did(cut.actions)).not.toContain('commit-snapshot');
    expect(cut.state).toMatchObject({ phase: 'waiting', have: null });
  });

  it('asks for a whole snapshot when what it has was written by an older version', () => {
    expect(play(initialFeedState(at(7), true), { type: 'start' }).actions).toEqual([{ do: 'dial', have: null }]);
  });

  it('commits a snapshot only when it is complete', () => {
    const start = play(initialFeedState(null), { type: 'start' }, { type: 'connected' });
    const whole = play(start.state, ...snapshotEvents(at(3)));
    expect(did(whole.actions)).toEqual([
      'begin-snapshot',
      'add-settings',
      'add-keys',
      'add-deleted-keys',
      'commit-snapshot',
    ]);
    expect(whole.state).toMatchObject({ phase: 'live', have: at(3) });
    const short = play(start.state, ...snapshotEvents(at(3), 2));
    expect(did(short.actions)).not.toContain('commit-snapshot');
    expect(short.state).toMatchObject({ phase: 'waiting', have: null });
    const [first, begin] = snapshotEvents(at(3), 0);
    const moved = play(start.state, first!, begin!, frame({ t: 'snapshot-end', position: at(4) }));
    expect(moved.state).toMatchObject({ phase: 'waiting', have: null });
  });

  it('applies a delta only to the revision that it starts from', () => {
    expect(did(play(live(5), delta(5, 8)).actions)).toEqual(['apply-delta']);
    for (const [from, to] of [
      [6, 8],
      [4, 8],
      [4, 5],
    ] as const) {
      const { state, actions } = play(live(5), delta(from, to));
      expect(did(actions)).toEqual(['report', 'hang-up', 'wait']);
      expect(state).toMatchObject({ phase: 'waiting', have: at(5) });
    }
    expect(play(live(5), delta(5, 6, 2)).state.phase).toBe('waiting');
  });

  it('refuses a delta whose changes lie outside of it or are out of order', () => {
    const changes = (...revs: number[]): FeedEvent =>
      frame({ t: 'delta', epoch: 1, from: 5, to: 8, changes: revs.map((rev) => keyChange(rev, rev)) });
    expect(play(live(5), changes(6, 6, 8)).state.phase).toBe('live');
    expect(play(live(5), changes(5)).state.phase).toBe('waiting');
    expect(play(live(5), changes(9)).state.phase).toBe('waiting');
    expect(play(live(5), changes(7, 6)).state.phase).toBe('waiting');
  });

  it('is confirmed only by a ping whose revision is applied', () => {
    expect(play(live(5), ping(5)).actions).toEqual([{ do: 'confirm', dbAgeMs: 3 }]);
    expect(play(live(5), ping(4)).actions).toEqual([{ do: 'confirm', dbAgeMs: 3 }]);
    expect(play(live(5), ping(6)).actions).toEqual([]);
    expect(did(play(live(5), ping(6), delta(5, 6), ping(6)).actions)).toEqual(['apply-delta', 'confirm']);
  });

  it('connects again when a revision that the pings know does not arrive', () => {
    const pings = Array.from({ length: PINGS_AHEAD_MAX }, () => ping(6));
    expect(play(live(5), ...pings.slice(1)).state.phase).toBe('live');
    expect(play(live(5), ...pings).state.phase).toBe('waiting');
  });

  it('refuses an older position than its own, as welcome and as snapshot', () => {
    const start = play(initialFeedState(at(5)), { type: 'start' }, { type: 'connected' });
    for (const older of [at(4), at(9, 0)]) {
      const refused = play(start.state, welcome('snapshot', older));
      expect(refused.state).toMatchObject({ phase: 'waiting', have: at(5) });
      const late = play(
        start.state,
        welcome('snapshot', at(5)),
        frame({ t: 'snapshot-begin', position: older, keyCount: 0 }),
      );
      expect(late.state).toMatchObject({ phase: 'waiting', have: at(5) });
    }
    const newer = play(start.state, ...snapshotEvents(at(1, 2)));
    expect(newer.state).toMatchObject({ phase: 'live', have: at(1, 2) });
  });

  it('ends at the control plane of another installation and names both', () => {
    const start = play(initialFeedState(at(5)), { type: 'start' }, { type: 'connected' });
    const { state, actions } = play(start.state, welcome('snapshot', { ...at(9), installation: 'other' }));
    expect(state.phase).toBe('ended');
    expect(actions).toEqual([{ do: 'hang-up' }, { do: 'foreign-installation', local: INSTALLATION, other: 'other' }]);
  });

  it('does not take deltas on top of what it does not have', () => {
    const nothing = play(initialFeedState(null), { type: 'start' }, { type: 'connected' }, welcome('delta', at(5)));
    expect(nothing.state.phase).toBe('waiting');
    const other = play(initialFeedState(at(5)), { type: 'start' }, { type: 'connected' }, welcome('delta', at(5, 2)));
    expect(other.state.phase).toBe('waiting');
  });

  it('does not speak another protocol', () => {
    const start = play(initialFeedState(null), { type: 'start' }, { type: 'connected' });
    const { state, actions } = play(
      start.state,
      frame({ t: 'welcome', protocol: 3, position: at(1), mode: 'snapshot' }),
    );
    expect(state.phase).toBe('waiting');
    expect(actions[0]).toMatchObject({ level: 'error', message: expect.stringContaining('protocol 3') });
  });

  it('warns of a connection that is lost, and of dials that fail only when that lasts', () => {
    const warnings = (actions: readonly FeedAction[]) =>
      actions.filter((action) => action.do === 'report' && action.level === 'warn').length;
    expect(warnings(play(live(5), { type: 'lost', reason: 'x' }).actions)).toBe(1);
    const events: FeedEvent[] = [{ type: 'start' }];
    const dial = (): number => {
      events.push({ type: 'lost', reason: 'x' });
      const count = warnings(play(initialFeedState(null), ...events).actions);
      events.push({ type: 'retry' });
      return count;
    };
    expect(Array.from({ length: DIALS_BEFORE_WARNING + 3 }, dial)).toEqual([
      ...Array.from({ length: DIALS_BEFORE_WARNING }, () => 0),
      ...[1, 1, 1],
    ]);
  });

  it('waits longer with each attempt until the feed confirms something', () => {
    const lost: FeedEvent = { type: 'lost', reason: 'x' };
    const wait = (actions: readonly FeedAction[]): FeedAction | undefined =>
      actions.findLast(({ do: verb }) => verb === 'wait');
    let state = live(5);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const failed = play(state, lost);
      expect(wait(failed.actions)).toMatchObject({ attempt });
      // A welcome alone proves nothing: a server that greets and closes must not be dialled in a tight loop.
      state = play(failed.state, { type: 'retry' }, { type: 'connected' }, welcome('delta', at(5))).state;
    }
    expect(wait(play(state, ping(5), lost).actions)).toMatchObject({ attempt: 0 });
  });

  it('stays away as long as goaway says, and not longer than a minute', () => {
    const away = (retryAfterMs: number) => play(live(5), frame({ t: 'goaway', retryAfterMs })).actions;
    expect(away(500)).toContainEqual({ do: 'wait', attempt: 0, atLeastMs: 500 });
    expect(away(1e12)).toContainEqual({ do: 'wait', attempt: 0, atLeastMs: GOAWAY_MS_MAX });
  });

  it('refuses what is denied from the moment it is connected, also while a snapshot comes', () => {
    const deny = (rev: number, epoch = 1) => frame({ t: 'deny', epoch, rev, tokens: ['t'] });
    const greeting = play(initialFeedState(at(5)), { type: 'start' }, { type: 'connected' });
    const [welcomed, begin] = snapshotEvents(at(9));
    for (const before of [[], [welcomed!], [welcomed!, begin!]]) {
      const { state } = play(greeting.state, ...before);
      expect(play(state, deny(6)).actions).toEqual([{ do: 'deny', denial: { epoch: 1, rev: 6, tokens: ['t'] } }]);
      expect(play(state, deny(5), deny(6, 2)).actions).toEqual([]);
    }
  });

  it('says that it has nothing when it is to take a whole snapshot, and keeps what it has until that is complete', () => {
    const asked = play(live(5), frame({ t: 'command', command: 'resync' }));
    expect(did(asked.actions)).toEqual(['report', 'hang-up', 'wait']);
    const again = play(
      asked.state,
      { type: 'retry' },
      { type: 'connected' },
      { type: 'lost', reason: 'x' },
      { type: 'retry' },
    );
    expect(again.actions.filter(({ do: verb }) => verb === 'dial')).toEqual([
      { do: 'dial', have: null },
      { do: 'dial', have: null },
    ]);
    expect(again.state.have).toEqual(at(5));
    const older = play(again.state, { type: 'connected' }, ...snapshotEvents(at(4)));
    expect(older.state).toMatchObject({ phase: 'waiting', have: at(5) });
    const done = play(again.state, { type: 'connected' }, ...snapshotEvents(at(5)));
    expect(done.state).toMatchObject({ phase: 'live', have: at(5), resync: false });
  });

  it('says when a snapshot begins a new epoch', () => {
    const { state } = play(initialFeedState(at(5)), { type: 'start' }, { type: 'connected' });
    for (const [position, newEpoch] of [
      [at(9), false],
      [at(2, 2), true],
    ] as const) {
      const { actions } = play(state, ...snapshotEvents(position));
      expect(actions[0]).toEqual({ do: 'begin-snapshot', newEpoch });
      expect(actions.at(-1)).toEqual({ do: 'commit-snapshot', position, head: null, newEpoch });
    }
    const first = play(initialFeedState(null), { type: 'start' }, { type: 'connected' }, ...snapshotEvents(at(2, 2)));
    expect(first.actions.at(-1)).toMatchObject({ newEpoch: false });
  });

  it('never dials again after superseded or stop', () => {
    for (const event of [frame({ t: 'superseded' }), { type: 'stop' } as const]) {
      const { state, actions } = play(live(5), event);
      expect(did(actions)[0]).toBe('hang-up');
      expect(state.phase).toBe('ended');
      expect(play(state, { type: 'retry' }, { type: 'start' }, { type: 'connected' }).actions).toEqual([]);
    }
    expect(did(play(live(5), frame({ t: 'superseded' })).actions)).toEqual(['hang-up', 'superseded']);
  });

  it('never goes backwards, and never skips, whatever comes', () => {
    const position = fc
      .record({ epoch: fc.integer({ min: 1, max: 2 }), rev: fc.nat(4) })
      .map(({ epoch, rev }) => at(rev, epoch));
    const anything: fc.Arbitrary<FeedEvent> = fc.oneof(
      fc.constantFrom<FeedEvent>(
        { type: 'start' },
        { type: 'retry' },
        { type: 'connected' },
        { type: 'lost', reason: 'x' },
      ),
      fc.tuple(fc.constantFrom('snapshot' as const, 'delta' as const), position).map(([mode, p]) => welcome(mode, p)),
      position.map((p) => frame({ t: 'snapshot-begin', position: p, keyCount: 0 })),
      position.map((p) => frame({ t: 'snapshot-end', position: p })),
      fc
        .tuple(fc.nat(4), fc.nat(4), fc.integer({ min: 1, max: 2 }))
        .map(([from, to, epoch]) => frame({ t: 'delta', epoch, from, to, changes: [] })),
      fc.nat(5).map((rev) => ping(rev)),
    );
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 60 }), (events) => {
        let state = initialFeedState(null);
        for (const event of events) {
          const next = step(state, event);
          for (const action of next.actions) {
            if (action.do === 'apply-delta') expect(action.from).toEqual(state.have);
          }
          if (state.have !== null) {
            expect(next.state.have).not.toBeNull();
            expect(isBefore(next.state.have!, state.have)).toBe(false);
          }
          const moved = next.state.have !== state.have;
          expect(moved).toBe(next.actions.some(({ do: verb }) => verb === 'commit-snapshot' || verb === 'apply-delta'));
          state = next.state;
        }
      }),
      { numRuns: pick(500, 20_000) },
    );
  });
});
