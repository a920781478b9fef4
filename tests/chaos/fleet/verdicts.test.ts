import { beforeEach, describe, expect, it } from 'vitest';
import { Disturbances } from './disturbances.ts';
import { KeyRing, type RingKey } from './key-ring.ts';
import { type EndedCall, Verdicts } from './verdicts.ts';

const FENCE_MS = 15_000;
const NOT_KNOWN = 'This key has the form of a key of this installation but is not known here yet. Retry shortly.';
const STALE = 'This instance is cut off from its database: what it knows …';

let disturbances: Disturbances;
let verdicts: Verdicts;
let key: RingKey;
let told: string[];

beforeEach(() => {
  told = [];
  disturbances = new Disturbances();
  verdicts = new Verdicts(disturbances, { fenceMs: FENCE_MS, slackMs: 500 }, (text) => told.push(text));
  key = new KeyRing().add('sk-c1', 1_000);
});

describe('a valid key', () => {
  it('that is refused with 401 is a violation, whatever happens around it', () => {
    disturbances.begin(['eu-0'], 'broken', 'line 7', 0);
    verdicts.ended(call({ status: 401 }));
    expect(told).toEqual([expect.stringMatching(/^a valid key was answered 401 by eu-0.*\n {2}line 7$/s)]);
  });

  it('may be answered 503 while its worker is disturbed or shortly after, with a reason of the specifications', () => {
    const end = disturbances.begin(['eu-0'], 'cut', 'line 7', 90_000);
    end(95_000);
    for (const reason of [NOT_KNOWN, STALE]) verdicts.ended(call({ status: 503, reason }));
    expect([...verdicts.unavailable]).toEqual([
      ['key_not_known_here', 1],
      ['stale_knowledge', 1],
    ]);
    expect(told).toEqual([]);
    verdicts.ended(call({ status: 503, reason: 'the usage log is full' }));
    expect(told).toHaveLength(1);
  });

  it('that is answered 503 by a worker which nothing disturbs is a violation, but for a key of this moment', () => {
    verdicts.ended(call({ status: 503, reason: STALE }));
    verdicts.ended(call({ status: 503, reason: NOT_KNOWN }));
    verdicts.ended(call({ status: 503, reason: NOT_KNOWN, sentAtMs: 1_500 }));
    expect(told).toHaveLength(2);
  });

  it('whose call is cut is a violation unless its gateway process was ended or stopped', () => {
    verdicts.ended(call({ status: null, reason: 'ECONNRESET' }));
    expect(told).toHaveLength(1);
    disturbances.begin(['eu-0'], 'cut', 'line 7', 0);
    verdicts.ended(call({ status: null, reason: 'ECONNRESET' }));
    expect(told).toHaveLength(2);
    disturbances.begin(['eu-0'], 'broken', 'line 8', 0);
    verdicts.ended(call({ status: null, reason: 'ECONNRESET' }));
    expect(told).toHaveLength(2);
  });
});

describe('a revoked key', () => {
  beforeEach(() => {
    key.revokingSinceMs = 49_990;
    key.revokedAtMs = 50_000;
  });

  it('may be admitted up to the fence, and the times while its worker was connected are kept apart', () => {
    disturbances.begin(['us-0'], 'cut', 'line 7', 40_000);
    verdicts.ended(call({ sentAtMs: 50_200 }));
    verdicts.ended(call({ sentAtMs: 50_100 }));
    verdicts.ended(call({ sentAtMs: 60_000, worker: 'us-0' }));
    verdicts.ended(call({ sentAtMs: 50_100, worker: 'us-1', status: 401 }));
    expect([verdicts.lateness(true), verdicts.lateness(false), told]).toEqual([[0, 200], [10_000], []]);
  });

  it('that is admitted later is a violation, by the clock of the client or of the provider', () => {
    verdicts.ended(call({ sentAtMs: 50_000 + FENCE_MS + 501 }));
    expect(told).toHaveLength(1);
    const slow = call({ sentAtMs: 50_100 });
    verdicts.providerHad(slow, 50_000 + FENCE_MS);
    expect(told).toHaveLength(1);
    verdicts.providerHad(slow, 50_000 + FENCE_MS + 501);
    expect(told).toHaveLength(2);
    // Stopped between look-up and dispatch.
    disturbances.begin(['eu-0'], 'broken', 'line 7', 50_000);
    verdicts.providerHad(slow, 50_000 + FENCE_MS + 501);
    expect(told).toHaveLength(2);
  });
});

describe('positions', () => {
  const position = { gatewayId: 'a/0', session: 's', epoch: 1, rev: 5, checked: null };

  it('that go back are violations, in answers and in reports of one process', () => {
    verdicts.ended(call({ rev: 4, revBefore: 5 }));
    verdicts.reported(1, position);
    verdicts.reported(2, { ...position, rev: 4 });
    expect(told).toHaveLength(2);
    verdicts.reported(3, { ...position, session: 't', rev: 3 });
    // What was not on the disk of the database yet went with it.
    verdicts.databaseEnded();
    verdicts.reported(4, { ...position, session: 't', rev: 2 });
    expect(told).toHaveLength(2);
  });

  it('that are equal with different keys are violations', () => {
    const checked = { epoch: 1, rev: 5, setHash: 'aa' };
    verdicts.reported(1, { ...position, checked });
    verdicts.reported(1, { ...position, gatewayId: 'b/0', checked });
    expect([told, verdicts.comparedSets]).toEqual([[], { positions: 1, gateways: 2 }]);
    verdicts.reported(1, { ...position, gatewayId: 'c/0', checked: { ...checked, setHash: 'bb' } });
    expect(told).toHaveLength(1);
  });
});

function call(changes: Partial<EndedCall>): EndedCall {
  const sentAtMs = changes.sentAtMs ?? 100_000;
  return {
    ...{ id: 'c-1', worker: 'eu-0', key, sentAtMs, endedAtMs: sentAtMs + 20, status: 200, reason: '', rev: 5 },
    revBefore: 5,
    ...changes,
  };
}
