import { describe, expect, it } from 'vitest';
import { bytes, shortIds, span } from './figures.ts';
import { readEvents } from './read-events.ts';
import { eventText } from './watch-fleet.ts';

describe('figures for people', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_500, '1.5 s'],
    [61_000, '61 s'],
    [600_000, '10 min'],
    [7_200_000, '2 h'],
    [604_800_000, '7 d'],
  ])('%i ms is %s', (ms, text) => expect(span(ms)).toBe(text));

  it('has bytes in binary units', () => {
    expect([bytes(512), bytes(1_536), bytes(73_400_320)]).toEqual(['512 B', '1.5 KiB', '70 MiB']);
  });

  it('shortens ids only as far as they stay apart', () => {
    expect(shortIds(['aaaaaaaa-1', 'bbbbbbbb-1']).get('aaaaaaaa-1')).toBe('aaaaaaaa');
    expect(shortIds(['aaaaaaaa-1x', 'aaaaaaaa-2x']).get('aaaaaaaa-1x')).toBe('aaaaaaaa-1x');
    expect(shortIds(['aaaaaaaa-1xxxxxxx', 'aaaaaaaa-1xxxxxxx']).size).toBe(1);
  });
});

describe('the events of a stream', () => {
  const text =
    ': connected\n\nevent: change\nid: 1/2\ndata: {"rev":2}\n\n: \n\nevent: gateway\ndata: {"a":"\u00fc"}\n\n';

  it('are the same wherever it is cut', async () => {
    const all = Buffer.from(text);
    for (let at = 0; at <= all.length; at++) {
      const chunks = (async function* () {
        yield all.subarray(0, at);
        yield all.subarray(at);
      })();
      const events = [];
      for await (const event of readEvents(chunks)) events.push(event);
      expect(events).toEqual([
        { event: 'change', data: { rev: 2 } },
        { event: 'gateway', data: { a: '\u00fc' } },
      ]);
    }
  });

  it('are one line each, whatever names contain', () => {
    const data = {
      rev: 7,
      kind: 'key',
      op: 'updated',
      object: 'x\ny\u001b[31m',
      actor: 'somebody',
      changed_by: null,
      fields: ['models'],
    };
    const line = eventText({ event: 'change', data }, new Date(2026, 0, 1, 12, 30, 5));
    expect(line).toBe('12:30:05  change   7  key updated x?y?[31m by somebody: models\n');
    const was = { gateway: 'w/0', region: 'eu', was: 'live', state: 'suspect' };
    expect(eventText({ event: 'gateway', data: was }, new Date(2026, 0, 1, 1, 2, 3))).toBe(
      '01:02:03  gateway  w/0 (eu) live -> suspect\n',
    );
  });
});
