import { describe, expect, it } from 'vitest';
import type { FleetRegions, FleetWorkers } from '../../contract/schemas/fleet.ts';
import { bytes, shortIds, span } from './figures.ts';
import { readEvents } from './read-events.ts';
import { statusText } from './status-text.ts';
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

describe('the status of an instance', () => {
  const now = '2026-01-01T12:00:00.000Z';
  const remarks = (dependencies: object | undefined, state = 'live'): string => {
    const gateway = {
      gateway: 'w/0',
      state,
      version: '1',
      last_seen: now,
      applied: { rev: 1 },
      lag: { revisions: 0, ms: 0 },
      drift: false,
      left_reason: null,
      command: null,
      clock_offset_ms: null,
      usage_log: null,
      configuration: null,
    };
    const workers = [
      {
        worker: 'w',
        region: 'eu',
        role: 'worker',
        state,
        joined: false,
        dependencies,
        gateways: [gateway, { ...gateway, gateway: 'w/1' }],
      },
    ];
    const fleet = { now, head: { epoch: 1, rev: 1 }, workers } as unknown as FleetWorkers;
    return statusText(fleet, { regions: [] } as unknown as FleetRegions);
  };

  it('names of what it depends on only what is not as it should be, once', () => {
    const ok = { state: 'ok', away_since: null };
    const mirror = { state: 'ok', last_written: now, error: null };
    const fine = { database: ok, control_plane: { ...ok, address: 'https://a.test' }, snapshot_mirror: mirror };
    for (const nothing of [undefined, fine]) expect(remarks(nothing)).not.toMatch(/database|control plane|mirror/);
    const away = { state: 'away', away_since: '2026-01-01T11:58:00.000Z' };
    const failing = { state: 'failing', last_written: '2026-01-01T11:00:00.000Z', error: 'no space' };
    const text = remarks({ database: away, control_plane: { ...away, address: null }, snapshot_mirror: failing });
    expect(text.match(/its database takes nothing from it for 2 min/g)).toHaveLength(1);
    expect(text).toContain('cut off from its control plane for 2 min');
    expect(text).toContain('snapshot mirror last written 60 min ago: no space');
    expect(remarks({ database: away, control_plane: null, snapshot_mirror: null }, 'lost')).not.toContain('database');
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
        { event: 'change', data: { rev: 2 }, id: '1/2' },
        { event: 'gateway', data: { a: '\u00fc' }, id: null },
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
    const line = eventText({ event: 'change', data, id: null }, new Date(2026, 0, 1, 12, 30, 5));
    expect(line).toBe('12:30:05  change   7  key updated x?y?[31m by somebody: models\n');
    const was = { gateway: 'w/0', region: 'eu', was: 'live', state: 'suspect' };
    expect(eventText({ event: 'gateway', data: was, id: null }, new Date(2026, 0, 1, 1, 2, 3))).toBe(
      '01:02:03  gateway  w/0 (eu) live -> suspect\n',
    );
  });
});
