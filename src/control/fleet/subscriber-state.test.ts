import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accountChange } from '../../../tests/support/accounts.ts';
import { pick } from '../../../tests/support/length.ts';
import { keyChange, keyDeleted, tokenOf } from '../../../tests/support/principals.ts';
import type { Change } from '../../domain/change.ts';
import { ENTITIES_PER_FRAME_MAX } from '../../feed/protocol.ts';
import type { Stretch } from './change-tail.ts';
import {
  initialSubscriberState,
  isBehind,
  SUBSCRIBER_TABLE,
  type SubscriberAction,
  type SubscriberEvent,
  type SubscriberEventName,
  type SubscriberPhase,
  type SubscriberState,
  step,
  WAITING_CHANGES_MAX,
} from './subscriber-state.ts';

const NOW_MS = 1_000_000;
const headAt = (rev: number) => rev.toString(16).padStart(64, '0');
const stretchOf = (from: number, changes: readonly Change[]): Stretch => {
  const to = from + changes.length;
  return { epoch: 1, from, to, changes, head: headAt(to) };
};
const offered = (from: number, ...changes: Change[]): SubscriberEvent => ({
  type: 'offered',
  stretch: stretchOf(from, changes),
  nowMs: NOW_MS,
});
const caughtUp = (rev: number, ...missed: Stretch[]): SubscriberEvent => ({
  type: 'caught-up',
  rev,
  missed,
  nowMs: NOW_MS,
});
const ack = (rev: number, epoch = 1): SubscriberEvent => ({ type: 'acknowledged', epoch, rev });
const goaway: SubscriberEvent = { type: 'finish', frame: { t: 'goaway', retryAfterMs: 1 } };

function play(state: SubscriberState, ...events: SubscriberEvent[]) {
  const actions: SubscriberAction[] = [];
  for (const event of events) {
    const next = step(state, event);
    state = next.state;
    actions.push(...next.actions);
  }
  return { state, actions };
}

/** One line for each action, as `delta 5..7 a b`. */
function told(actions: readonly SubscriberAction[]): string[] {
  const names = new Map(['a', 'b', 'c'].map((name) => [tokenOf(name) as string, name]));
  return actions.map((action) => {
    if (action.do === 'write-delta') {
      const { from, to, changes } = action.part;
      return ['delta', `${from}..${to}`, ...changes.map(({ id }) => names.get(id) ?? id)].join(' ');
    }
    if (action.do === 'write-deny')
      return ['deny', ...action.tokens.map((token) => names.get(token) ?? token)].join(' ');
    return action.do;
  });
}

const open = (rev: number, protocol = 2) => play(initialSubscriberState(protocol, 1), caughtUp(rev)).state;
const window = (rev: number) => play(open(rev - 1), offered(rev - 1, keyChange(rev, 'x'))).state;

describe('the table', () => {
  const phases: Readonly<Record<SubscriberPhase, SubscriberState>> = {
    'catching-up': initialSubscriberState(2, 1),
    open: open(5),
    window: window(5),
    closed: play(open(5), { type: 'gone' }).state,
  };
  const events: Readonly<Record<SubscriberEventName, SubscriberEvent>> = {
    offered: offered(5, keyChange(6, 'a')),
    'caught-up': caughtUp(5),
    acknowledged: ack(5),
    'window-expired': { type: 'window-expired' },
    overflow: { type: 'overflow' },
    finish: goaway,
    gone: { type: 'gone' },
  };
  /** The phase after an event; what is not named stays and does nothing. */
  const documented: Readonly<Record<SubscriberPhase, Partial<Record<SubscriberEventName, SubscriberPhase>>>> = {
    'catching-up': {
      offered: 'catching-up',
      'caught-up': 'open',
      overflow: 'closed',
      finish: 'closed',
      gone: 'closed',
    },
    open: { offered: 'window', overflow: 'closed', finish: 'closed', gone: 'closed' },
    window: {
      offered: 'window',
      acknowledged: 'open',
      'window-expired': 'closed',
      overflow: 'closed',
      finish: 'closed',
      gone: 'closed',
    },
    closed: {},
  };

  it('has a cell for every phase and event', () => {
    expect(Object.keys(SUBSCRIBER_TABLE).sort()).toEqual(Object.keys(phases).sort());
    for (const row of Object.values(SUBSCRIBER_TABLE))
      expect(Object.keys(row).sort()).toEqual(Object.keys(events).sort());
  });

  const cells = Object.keys(phases).flatMap((phase) =>
    Object.keys(events).map((name) => [phase, name] as [SubscriberPhase, SubscriberEventName]),
  );
  it.each(cells)('leads from %s on %s to the phase of the specification', (phase, name) => {
    const next = step(phases[phase], events[name]);
    expect(next.state.phase).toBe(documented[phase][name] ?? phase);
    if (documented[phase][name] === undefined) expect(next).toEqual({ state: phases[phase], actions: [] });
  });
});

describe('a subscriber of protocol 2', () => {
  it('has one unconfirmed delta, and gets what came meanwhile as one, the last state of each object', () => {
    const sent = play(
      open(5),
      offered(5, keyChange(6, 'a')),
      offered(6, keyChange(7, 'b', { rpmLimit: 1 })),
      offered(7, keyChange(8, 'c'), keyChange(9, 'b', { rpmLimit: 2 })),
    );
    expect(told(sent.actions)).toEqual(['delta 5..6 a', 'arm-window']);
    expect(isBehind(sent.state)).toBe(true);
    const rest = play(sent.state, ack(6));
    expect(told(rest.actions)).toEqual(['disarm-window', 'delta 6..9 c b', 'arm-window']);
    expect(rest.actions[1]).toMatchObject({ part: { head: headAt(9) } });
    expect(play(rest.state, ack(9)).state).toMatchObject({ phase: 'open', sent: 9, waiting: [] });
  });

  it('is confirmed only by its own epoch and revision', () => {
    for (const event of [ack(5), ack(9, 2)]) expect(play(window(6), event).state.phase).toBe('window');
    expect(play(window(6), ack(7)).state.phase).toBe('open');
  });

  it('hears at once of a key that is refused, ahead of the delta that says so', () => {
    const { state, actions } = play(
      window(5),
      offered(5, keyChange(6, 'a', { blocked: true }), keyChange(7, 'c')),
      offered(7, keyDeleted(8, 'b')),
      offered(8, keyChange(9, 'c', { expiresAtMs: NOW_MS })),
    );
    expect(told(actions)).toEqual(['deny a', 'deny b', 'deny c']);
    expect(told(play(state, ack(5)).actions)).toEqual(['disarm-window', 'delta 5..9 a b c', 'arm-window']);
  });

  it('is not told of a denial that the same stretch takes back', () => {
    const { actions } = play(window(5), offered(5, keyChange(6, 'a', { blocked: true }), keyChange(7, 'a')));
    expect(told(actions)).toEqual([]);
  });

  it('gets what it missed, then what waited, without what is in both', () => {
    const waiting = play(
      initialSubscriberState(2, 1),
      offered(7, keyChange(8, 'a')),
      offered(8, keyChange(9, 'b'), keyChange(10, 'c')),
    );
    const missed = stretchOf(5, [keyChange(6, 'a'), keyChange(7, 'b'), keyChange(8, 'a'), keyChange(9, 'b')]);
    expect(told(play(waiting.state, caughtUp(5, missed)).actions)).toEqual(['delta 5..10 a b c', 'arm-window']);
  });

  it('is not sent again what it got from the change log, which may be ahead of the tail', () => {
    const missed = stretchOf(5, [keyChange(6, 'a'), keyChange(7, 'b'), keyChange(8, 'c')]);
    const { state } = play(initialSubscriberState(2, 1), caughtUp(5, missed));
    const { actions } = play(
      state,
      offered(5, keyChange(6, 'a')),
      offered(6, keyChange(7, 'b', { blocked: true }), keyChange(8, 'c'), keyChange(9, 'a')),
      ack(8),
    );
    expect(told(actions)).toEqual(['disarm-window', 'delta 8..9 a', 'arm-window']);
  });

  it('hears at once of what is refused by the rest of a transaction that is too long for one delta', () => {
    const count = ENTITIES_PER_FRAME_MAX + 2;
    const changes = Array.from({ length: count }, (_, n) => keyChange(6 + n, n));
    changes[0] = keyChange(6, 'a');
    changes[count - 2] = keyChange(4 + count, 'b', { blocked: true });
    changes[count - 1] = keyChange(5 + count, 'a', { blocked: true });
    const { state, actions } = play(open(5), offered(5, ...changes));
    expect(told(actions).map((line) => line.slice(0, 12))).toEqual(['delta 5..505', 'arm-window', 'deny b a']);
    // The earlier state of a key that is refused by now does not allow it once more.
    expect(actions[0]).toMatchObject({
      part: { head: null, changes: [{ value: { blocked: true } }, ...Array(499).fill({})] },
    });
    expect(told(play(state, ack(505)).actions)).toEqual(['disarm-window', 'delta 505..507 b a', 'arm-window']);
  });

  it('starts again when there is a gap', () => {
    expect(told(play(open(5), offered(6, keyChange(7, 'a'))).actions)).toEqual(['disarm-window', 'close']);
    expect(told(play(window(5), offered(6, keyChange(7, 'a'))).actions)).toEqual(['disarm-window', 'close']);
    const early = play(initialSubscriberState(2, 1), offered(7, keyChange(8, 'a'))).state;
    expect(told(play(early, caughtUp(5)).actions)).toEqual(['disarm-window', 'close']);
  });

  it('starts again when more waits for it than the bound', () => {
    let state = window(5);
    let rev = 5;
    let closed = 0;
    while (state.phase === 'window' && rev < 2 * WAITING_CHANGES_MAX) {
      const changes = Array.from(
        { length: 1_000 },
        (_, n) => ({ rev: rev + n + 1, kind: 'setting', id: `s${rev + n}`, value: 1 }) as const,
      );
      const next = step(state, offered(rev, ...changes));
      state = next.state;
      rev += 1_000;
      if (state.phase === 'closed') closed = rev;
    }
    expect(closed - 5).toBe(WAITING_CHANGES_MAX + 1_000);
    expect(state.waiting).toEqual([]);
  });

  it('may fall behind for ever on one object', () => {
    let state = window(5);
    for (let rev = 5; rev < 5 + WAITING_CHANGES_MAX * 2; rev += 1) {
      state = step(state, offered(rev, { rev: rev + 1, kind: 'setting', id: 's', value: rev })).state;
    }
    expect(state).toMatchObject({ phase: 'window', waiting: [{ changes: [{ value: 4 + WAITING_CHANGES_MAX * 2 }] }] });
  });
});

describe('a subscriber of protocol 1', () => {
  it('hears at once of an account that is refused, and is not sent an earlier state that allows it', () => {
    const changes = [
      accountChange(7, 'team', 't'),
      accountChange(8, 'customer', 'c', null),
      accountChange(9, 'team', 't', { blocked: true }),
      accountChange(10, 'customer', 'c', { blocked: true }),
      accountChange(11, 'user', 'gone', null),
    ];
    const { state, actions } = play(window(6), offered(6, ...changes));
    expect(told(actions)).toEqual(['deny team:t customer:c']);
    const [part] = state.waiting;
    expect(part!.changes.map(({ rev }) => rev)).toEqual([9, 10, 11]);
    // A long history goes out in parts: what is denied in a later one is not allowed by an earlier one.
    const many = Array.from({ length: ENTITIES_PER_FRAME_MAX }, (_, index) =>
      accountChange(8 + index, 'team', `n${index}`),
    );
    const last = 8 + many.length;
    const long = [accountChange(7, 'team', 't'), ...many, accountChange(last, 'team', 't', { blocked: true })];
    const missed = stretchOf(6, long);
    const sent = play(initialSubscriberState(2, 1), caughtUp(6, missed)).actions;
    const first = sent.find((action) => action.do === 'write-delta');
    const team = first?.do === 'write-delta' ? first.part.changes.find(({ id }) => id === 't') : undefined;
    expect(team?.kind === 'team' && team.value?.blocked).not.toBe(false);
    expect(told(sent.filter((action) => action.do === 'write-deny'))).toEqual(['deny team:t']);
  });

  it('gets each stretch as it comes, confirmed or not, and no denials', () => {
    const { state, actions } = play(
      open(5, 1),
      offered(5, keyChange(6, 'a')),
      offered(6, keyChange(7, 'b', { blocked: true })),
    );
    expect(told(actions)).toEqual(['delta 5..6 a', 'delta 6..7 b']);
    expect(state).toMatchObject({ phase: 'open', sent: 7 });
    const behind = play(initialSubscriberState(1, 1), offered(5, keyDeleted(6, 'a')));
    expect(behind.actions).toEqual([]);
    expect(told(play(behind.state, caughtUp(5)).actions)).toEqual(['delta 5..6 a']);
  });
});

describe('whatever is committed, and however slowly it is confirmed', () => {
  interface Key {
    readonly limit: number | null;
    readonly refused: boolean;
  }
  const key = fc.record({ limit: fc.nat(3), fate: fc.constantFrom('allowed', 'allowed', 'blocked', 'deleted') });
  const small = fc.array(fc.tuple(fc.nat(3), key), { minLength: 1, maxLength: 4 });
  const large = fc
    .tuple(fc.integer({ min: 500, max: 1_300 }), key)
    .map(([count, one]) => Array.from({ length: count }, (_, n) => [n, one] as const));
  const move = fc.oneof(
    { weight: 8, arbitrary: small.map((edits) => ({ do: 'commit' as const, edits })) },
    { weight: 1, arbitrary: large.map((edits) => ({ do: 'commit' as const, edits })) },
    { weight: 5, arbitrary: fc.constant({ do: 'confirm' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'catch-up' as const }) },
  );

  it('each delta continues the one before, one at a time; nobody is allowed what is refused by now; in the end all is the same', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 40 }), fc.nat(10), (moves, missedCount) => {
        // The truth, by revision; and what the subscriber makes of the frames.
        const history: (readonly [number, Key])[] = [];
        const newest = new Map<number, Key>();
        const then = new Map<number, Key>();
        const client = new Map<number, Key>();
        let at = 0;
        let unconfirmed = false;
        let state = initialSubscriberState(2, 1);
        const numberOf = new Map(Array.from({ length: 1_300 }, (_, n) => [tokenOf(n) as string, n]));
        const missed: Stretch[] = [];
        let catchingUp = true;

        const take = (actions: readonly SubscriberAction[]) => {
          for (const action of actions) {
            if (action.do === 'write-delta') {
              const { from, to, changes } = action.part;
              expect(from).toBe(at);
              expect(unconfirmed).toBe(false);
              expect(changes.length).toBeLessThanOrEqual(ENTITIES_PER_FRAME_MAX);
              unconfirmed = true;
              at = to;
              for (const { id, value } of changes as readonly {
                id: string;
                value: { rpmLimit: number; blocked: boolean } | null;
              }[]) {
                client.set(numberOf.get(id)!, { limit: value?.rpmLimit ?? null, refused: value?.blocked ?? true });
              }
              for (const [n, known] of history.slice(from, to)) then.set(n, known);
              for (const [n, known] of then) {
                // As it was then, but for what is refused ahead of its time.
                const { limit, refused } = client.get(n)!;
                if (limit !== known.limit || (known.refused && !refused)) expect({ n, limit, refused }).toEqual(known);
              }
            } else if (action.do === 'write-deny') {
              for (const token of action.tokens) {
                const known = client.get(numberOf.get(token)!);
                if (known !== undefined) client.set(numberOf.get(token)!, { ...known, refused: true });
              }
            }
          }
        };
        const happen = (event: SubscriberEvent) => {
          const next = step(state, event);
          state = next.state;
          take(next.actions);
          if (catchingUp) return;
          const allowed = [...newest].filter(([n, known]) => known.refused && client.get(n)?.refused === false);
          expect(allowed).toEqual([]);
        };
        const catchUp = () => {
          if (!catchingUp) return;
          catchingUp = false;
          happen({ type: 'caught-up', rev: 0, missed, nowMs: NOW_MS });
        };

        let commits = 0;
        for (const one of moves) {
          if (one.do === 'commit') {
            const from = history.length;
            const changes = one.edits.map(([n, { limit, fate }], index): Change => {
              const rev = from + index + 1;
              const known = { limit: fate === 'deleted' ? null : limit, refused: fate !== 'allowed' };
              history.push([n, known]);
              newest.set(n, known);
              return fate === 'deleted'
                ? keyDeleted(rev, n)
                : keyChange(rev, n, { rpmLimit: limit, blocked: fate === 'blocked' });
            });
            commits += 1;
            const stretch = stretchOf(from, changes);
            // What was committed before it came is in the change log, and some of it in both.
            if (catchingUp && commits <= missedCount) missed.push(stretch);
            if (!catchingUp || commits >= missedCount) happen({ type: 'offered', stretch, nowMs: NOW_MS });
          } else if (one.do === 'confirm') {
            unconfirmed = false;
            happen(ack(at));
          } else catchUp();
        }
        catchUp();
        for (let n = 0; n < 50 && state.phase === 'window'; n += 1) {
          unconfirmed = false;
          happen(ack(at));
        }
        expect(at).toBe(history.length);
        expect(Object.fromEntries(client)).toEqual(Object.fromEntries(newest));
      }),
      { numRuns: pick(150, 5_000) },
    );
  });
});
