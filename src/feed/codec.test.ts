import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accountChange, accountOf, termsOf } from '../../tests/support/accounts.ts';
import { pick } from '../../tests/support/length.ts';
import type { KeyDigest, Principal } from '../domain/virtual-key.ts';
import {
  DownFrameDecoder,
  encodeDownFrame,
  FeedFormatError,
  isBefore,
  parseAck,
  parseDenialReply,
  parseDenialReport,
  parseDownFrame,
  parseHello,
  parseUsageBatch,
  parseUsageReply,
} from './codec.ts';
import type { DownFrame } from './protocol.ts';

const position = { installation: 'inst', epoch: 1, rev: 7 };
const token = 'a'.repeat(64) as KeyDigest;
const principal: Principal = {
  token,
  keyName: 'sk-...ä🔑',
  keyAlias: null,
  expiresAtMs: null,
  blocked: false,
  models: ['gpt'],
  aliases: {},
  allowedRoutes: [],
  userId: null,
  teamId: null,
  organizationId: null,
  projectId: null,
  maxBudget: null,
  rpmLimit: null,
  tpmLimit: null,
  maxParallelRequests: null,
  tags: [],
  allowedRegions: [],
  fence: 'normal',
};

const FRAMES: readonly DownFrame[] = [
  { t: 'welcome', protocol: 1, position, mode: 'snapshot' },
  { t: 'snapshot-begin', position, keyCount: 1 },
  { t: 'keys', keys: [{ principal, spendNano: '123456789012345678901' }] },
  { t: 'deleted-keys', tokens: ['b'.repeat(64)] },
  { t: 'settings', settings: { fleet_key: 'AA==', naïve: ['日本', null] } },
  { t: 'snapshot-end', position },
  { t: 'delta', epoch: 1, from: 7, to: 8, changes: [{ rev: 8, kind: 'key', id: token, value: principal }] },
  { t: 'ping', rev: 8, dbAgeMs: 12.5 },
  { t: 'superseded' },
  { t: 'goaway', retryAfterMs: 100 },
  { t: 'welcome', protocol: 2, position, mode: 'delta', head: 'f'.repeat(64) },
  {
    t: 'models',
    models: [{ id: 'm', modelName: 'gpt', litellmParams: { model: 'x' }, modelInfo: { regions: ['eu'] } }],
  },
  { t: 'deny', epoch: 1, rev: 9, tokens: ['b'.repeat(64), 'team:a:b'] },
  { t: 'accounts', accounts: [accountOf('team', 'a:b', { models: ['ä'], budgets: [termsOf(1.5)] })] },
  {
    t: 'delta',
    epoch: 1,
    from: 7,
    to: 9,
    changes: [accountChange(8, 'user', 'u'), accountChange(9, 'tag', 'x', null)],
  },
  { t: 'command', command: 'resync' },
];

function decode(chunks: readonly Buffer[], lineBytesMax?: number): DownFrame[] {
  const decoder = new DownFrameDecoder(lineBytesMax);
  const frames: DownFrame[] = [];
  for (const chunk of chunks) decoder.push(chunk, (frame) => frames.push(frame));
  return frames;
}

describe('DownFrameDecoder', () => {
  const bytes = Buffer.from(FRAMES.map(encodeDownFrame).join(''));

  it('gives the same frames wherever the stream is cut in two', () => {
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(decode([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(FRAMES);
    }
  });

  it('gives the same frames whatever the chunks are', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        expect(decode(at.slice(1).map((end, index) => bytes.subarray(at[index], end)))).toEqual(FRAMES);
      }),
      { numRuns: pick(100, 2_000) },
    );
  });

  it('keeps no part of a chunk that the socket may use again', () => {
    const decoder = new DownFrameDecoder();
    const frames: DownFrame[] = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const chunk = Buffer.from(bytes.subarray(at, at + 16));
      decoder.push(chunk, (frame) => frames.push(frame));
      chunk.fill(0);
    }
    expect(frames).toEqual(FRAMES);
  });

  it('takes empty lines as signs of life and skips kinds that it does not know', () => {
    expect(decode([Buffer.from('\n\n{"t":"from-the-future","x":1}\n{"t":"superseded"}\n')])).toEqual([
      { t: 'superseded' },
    ]);
  });

  it('refuses a line that is longer than the bound, finished or not', () => {
    expect(() => decode([Buffer.from(`"${'x'.repeat(60)}`), Buffer.from('y'.repeat(60))], 100)).toThrow(
      /longer than 100/,
    );
    expect(() => decode([Buffer.from(`"${'x'.repeat(200)}"\n`)], 100)).toThrow(/longer than 100/);
  });
});

describe('parsers', () => {
  const bad: [string, string][] = [
    ['not JSON', '{'],
    ['not an object', '[]'],
    ['no kind', '{}'],
    ['welcome without position', '{"t":"welcome","protocol":1,"mode":"delta"}'],
    ['welcome with an unknown mode', JSON.stringify({ ...FRAMES[0], mode: 'x' })],
    ['a negative revision', '{"t":"ping","rev":-1,"dbAgeMs":0}'],
    ['a negative age', '{"t":"ping","rev":1,"dbAgeMs":-1}'],
    ['a spend that is no integer', JSON.stringify({ t: 'keys', keys: [{ principal, spendNano: '1.5' }] })],
    [
      'a key that does not say whether it is blocked',
      JSON.stringify({ t: 'keys', keys: [{ principal: { ...principal, blocked: undefined }, spendNano: '1' }] }),
    ],
    ['a digest of the wrong length', '{"t":"deleted-keys","tokens":["abc"]}'],
    [
      'a key under the id of another',
      JSON.stringify({ ...FRAMES[6], changes: [{ rev: 8, kind: 'key', id: 'c'.repeat(64), value: principal }] }),
    ],
    [
      'a change of an unknown kind',
      JSON.stringify({ ...FRAMES[6], changes: [{ rev: 8, kind: 'x', id: 'y', value: 1 }] }),
    ],
    ['a change without a value', JSON.stringify({ ...FRAMES[6], changes: [{ rev: 8, kind: 'key', id: token }] })],
  ];

  it.each(bad)('refuse %s', (_what, line) => {
    expect(() => parseDownFrame(line)).toThrow(FeedFormatError);
  });

  it('complete a key of a version that knew neither regions nor fences, in the order that makes its text the same', () => {
    const { allowedRegions: _, fence: __, ...older } = principal;
    const keys = parseDownFrame(JSON.stringify({ t: 'keys', keys: [{ principal: older, spendNano: '0' }] }));
    const change = { rev: 8, kind: 'key', id: token, value: older };
    const delta = parseDownFrame(JSON.stringify({ t: 'delta', epoch: 1, from: 7, to: 8, changes: [change] }));
    expect(JSON.stringify(keys)).toBe(JSON.stringify({ t: 'keys', keys: [{ principal, spendNano: '0' }] }));
    expect(JSON.stringify(delta)).toBe(
      JSON.stringify({ t: 'delta', epoch: 1, from: 7, to: 8, changes: [{ ...change, value: principal }] }),
    );
  });

  it('take a report of denials and its answer, and nothing that is not one', () => {
    const report = { gatewayId: 'g/0', session: 's', epoch: 2, blocked: ['b'.repeat(64)], deleted: [] };
    expect(parseDenialReport(JSON.stringify(report))).toEqual(report);
    const reply = { epoch: 2, rev: 9, blocked: 1, known: 1, lifted: 0 };
    expect(parseDenialReply(JSON.stringify(reply))).toEqual(reply);
    for (const wrong of [{ blocked: ['short'] }, { deleted: undefined }, { epoch: '2' }, { session: '' }]) {
      expect(() => parseDenialReport(JSON.stringify({ ...report, ...wrong }))).toThrow(FeedFormatError);
    }
    for (const name of Object.keys(reply)) {
      expect(() => parseDenialReply(JSON.stringify({ ...reply, [name]: -1 }))).toThrow(FeedFormatError);
    }
  });

  it('do not repeat what they could not read', () => {
    const thrown = (() => {
      try {
        parseDownFrame('{"t":"keys", sk-secret');
      } catch (error) {
        return JSON.stringify([String(error), String((error as Error).cause)]);
      }
      return 'nothing';
    })();
    expect(thrown).toContain('is not JSON');
    expect(thrown).not.toContain('sk-secret');
  });

  it('read what goes up', () => {
    const hello = { protocol: 1, gatewayId: 'i/0', session: 's', region: '', role: 'worker', version: '1', have: null };
    expect(parseHello(JSON.stringify(hello))).toEqual(hello);
    expect(() => parseHello(JSON.stringify({ ...hello, gatewayId: '' }))).toThrow(/gatewayId/);
    const ack = { gatewayId: 'i/0', session: 's', epoch: 1, rev: 2 };
    expect(parseAck(JSON.stringify(ack))).toEqual(ack);
    const batch = { installation: 'x', gatewayId: 'i/0', region: 'eu', incarnation: 'u', from: 3, to: 3, records: [] };
    expect(parseUsageBatch(JSON.stringify(batch))).toEqual(batch);
    expect(() => parseUsageBatch(JSON.stringify({ ...batch, to: 2 }))).toThrow(/back to 2/);
    expect(parseUsageReply('{"ok":true,"cursor":3,"spend":{"t":"5"}}')).toMatchObject({ cursor: 3 });
    expect(parseUsageReply('{"ok":false,"cursor":3}')).toMatchObject({ ok: false });
    expect(() => parseUsageReply('{"cursor":3}')).toThrow(FeedFormatError);
    expect(() => parseUsageReply('{"ok":true,"cursor":3,"spend":{"t":5}}')).toThrow(/spend/);
  });
});

describe('isBefore', () => {
  it('orders by epoch, then by revision', () => {
    expect(isBefore({ epoch: 1, rev: 9 }, { epoch: 2, rev: 1 })).toBe(true);
    expect(isBefore({ epoch: 2, rev: 1 }, { epoch: 1, rev: 9 })).toBe(false);
    expect(isBefore({ epoch: 1, rev: 1 }, { epoch: 1, rev: 2 })).toBe(true);
    expect(isBefore({ epoch: 1, rev: 2 }, { epoch: 1, rev: 2 })).toBe(false);
  });
});

describe('an account', () => {
  const line = (account: object) => JSON.stringify({ t: 'accounts', accounts: [account] });
  const change = (fields: object) =>
    JSON.stringify({ t: 'delta', epoch: 1, from: 7, to: 8, changes: [{ rev: 8, ...fields }] });
  const team = accountOf('team', 't', { budgets: [termsOf(1)] });

  it('of which anything is missing or wrong is refused: it would read as allowed', () => {
    expect(parseDownFrame(line(team))).toMatchObject({ accounts: [team] });
    for (const name of Object.keys(team)) {
      if (name === 'alias') continue;
      expect(() => parseDownFrame(line({ ...team, [name]: undefined })), name).toThrow(FeedFormatError);
    }
    const wrong = [
      { kind: 'key' },
      { id: '' },
      { blocked: 'yes' },
      { models: [1] },
      { limits: { ...team.limits, rpm: -1 } },
      { budgets: [{ ...termsOf(1), maxBudget: null }] },
      { budgets: [{ ...termsOf(1), mode: 'later' }] },
    ];
    for (const fields of wrong) {
      expect(() => parseDownFrame(line({ ...team, ...fields })), JSON.stringify(fields)).toThrow(FeedFormatError);
    }
  });

  it('under the name of another one is refused', () => {
    expect(parseDownFrame(change({ kind: 'team', id: 't', value: team }))).not.toBeNull();
    for (const fields of [
      { kind: 'team', id: 'u' },
      { kind: 'user', id: 't' },
      { kind: 'nobody', id: 't' },
    ]) {
      expect(() => parseDownFrame(change({ ...fields, value: team })), JSON.stringify(fields)).toThrow(FeedFormatError);
    }
  });

  it('is named by kind and id where it is denied', () => {
    const deny = (...tokens: string[]) => JSON.stringify({ t: 'deny', epoch: 1, rev: 1, tokens });
    expect(parseDownFrame(deny('team:t', 'a'.repeat(64)))).not.toBeNull();
    for (const name of ['team:', ':t', 'nobody:t', 'team'])
      expect(() => parseDownFrame(deny(name))).toThrow(FeedFormatError);
  });
});
