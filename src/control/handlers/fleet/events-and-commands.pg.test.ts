import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../../../tests/support/eventually.ts';
import { FleetProbe } from '../../../../tests/support/fleet-probe.ts';
import { silentLog } from '../../../../tests/support/silent-log.ts';
import {
  startControlPlane,
  TEST_MASTER_KEY,
  type TestControlPlane,
} from '../../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../../tests/support/test-database.ts';
import type { WorkerRow as Worker } from '../../../contract/schemas/fleet.ts';
import {
  EVENT_BACKLOG_BYTES_MAX,
  EVENT_LISTENERS_MAX,
  EVENTS_KEPT_MAX,
  FleetEvents,
} from '../../fleet/fleet-events.ts';

let database: TestDatabase;
let admin: TestControlPlane;
let worker: TestControlPlane;
let open: { close(): unknown }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  admin = await startControlPlane({ database, instanceId: 'admin' });
  worker = await startControlPlane({ database, instanceId: 'worker' });
});
afterEach(async () => {
  for (const one of open) await one.close();
  open = [];
});
afterAll(async () => {
  await Promise.all([admin.stop(), worker.stop()]);
  await database.drop();
});

interface Event {
  readonly event: string;
  readonly id: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: each event has its own shape.
  readonly data: any;
}

/** Follows the events; `events` grows as they come. */
async function follow(lastEventId?: string): Promise<Following> {
  const response = await listen(lastEventId);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  return read(response.body!);
}

interface Following {
  readonly events: Event[];
  readonly ended: () => boolean;
  close(): Promise<void>;
}

function read(stream: ReadableStream<Uint8Array>): Following {
  const reader = stream.getReader();
  const events: Event[] = [];
  let ended = false;
  void (async () => {
    const decoder = new TextDecoder();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const blocks = (rest + decoder.decode(value)).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks.filter((text) => text.includes('data: '))) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
        events.push({ event: field('event')!, id: field('id'), data: JSON.parse(field('data')!) });
      }
    }
    ended = true;
  })();
  const following = { events, ended: () => ended, close: () => reader.cancel() };
  open.push(following);
  return following;
}

function listen(lastEventId?: string): Promise<Response> {
  const resume: Record<string, string> = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
  return Promise.resolve(
    admin.plane.app.request('/fleet/events', { headers: { authorization: `Bearer ${TEST_MASTER_KEY}`, ...resume } }),
  );
}

/** The first event of who comes back, if one is there at once. */
async function lastingReset(events: FleetEvents, lastEventId: string): Promise<string | undefined> {
  const following = read(events.listen(lastEventId)!);
  await new Promise((resolve) => setImmediate(resolve));
  await following.close();
  return following.events[0]?.event;
}

async function probe(gatewayId: string, options: object = {}): Promise<FleetProbe> {
  const made = new FleetProbe({ socketPath: worker.feedSocket, region: 'us', gatewayId, ...options });
  open.push(made);
  return made.arrive();
}

const post = (path: string, body: object = {}) => admin.call('POST', path, { body });
const stateOf = async (id: string): Promise<string | undefined> =>
  (await admin.call('GET', '/fleet/workers')).json.workers
    .flatMap((one: Worker) => one.gateways)
    .find((one: Worker['gateways'][number]) => one.gateway === id)?.state;

describe('the events of the fleet', () => {
  it('tell of each change once, in order, whoever made it', async () => {
    const { events } = await follow();
    const revs: number[] = [];
    for (let n = 0; n < 6; n++) {
      const { headers } = await (n % 2 === 0 ? admin : worker).call('POST', '/key/generate', { body: {} });
      revs.push(Number(headers.get('x-claviger-rev')));
    }
    const changes = () => events.filter(({ event }) => event === 'change');
    await expect.poll(() => changes().map(({ data }) => data.rev)).toEqual(revs);
    expect(changes()[0]).toMatchObject({ data: { epoch: 1, kind: 'key', op: 'created' } });
    expect(new Set(changes().map(({ id }) => id)).size).toBe(revs.length);
  });

  it('tell of arrivals and departures, also on other instances', async () => {
    const { events } = await follow();
    await eventually(() => events.some(({ event }) => event === 'fleet'));
    const come = await probe('come/0');
    const states = () =>
      events.filter(({ data }) => data.gateway === 'come/0').map(({ data }) => [data.was, data.state]);
    await expect.poll(states, { timeout: 5_000 }).toEqual([[null, 'live']]);
    await come.say({ draining: true });
    come.close();
    await expect.poll(() => states().at(-1), { timeout: 5_000 }).toEqual(['live', 'left']);
  });

  it('go on behind the last one that was heard, without gap or double', async () => {
    const first = await follow();
    const makeKeys = async (count: number): Promise<number[]> => {
      const revs: number[] = [];
      for (let n = 0; n < count; n++) revs.push(Number((await post('/key/generate')).headers.get('x-claviger-rev')));
      return revs;
    };
    const changes = ({ events }: Following) =>
      events.filter(({ event }) => event === 'change').map(({ data }) => data.rev);
    const heard = await makeKeys(2);
    await expect.poll(() => changes(first)).toEqual(heard);
    const lastId = first.events.at(-1)!.id!;
    await first.close();
    const missed = await makeKeys(3);
    const again = await follow(lastId);
    const live = await makeKeys(1);
    await expect.poll(() => changes(again)).toEqual([...missed, ...live]);
    expect(again.events.filter(({ event }) => event !== 'change' && event !== 'gateway')).toEqual([]);
  });

  it('tell with one reset that the last one that was heard is not known here', async () => {
    const { events } = await follow('0123456789abcdef/3');
    await expect.poll(() => events.map(({ event }) => event)).toEqual(['reset', 'fleet']);
    expect(events[0]!.data).toMatchObject({ read_again: ['/fleet/workers', '/fleet/changes'] });
    // From there it can be resumed again.
    const { events: resumed } = await follow(events[0]!.id);
    const rev = Number((await post('/key/generate')).headers.get('x-claviger-rev'));
    await expect.poll(() => resumed.map(({ event, data }) => [event, data.rev])).toEqual([['change', rev]]);
  });

  it('are kept in a bounded number, and not while nobody listens for long', async () => {
    const position = { installation: 'i', epoch: 1, rev: 0 };
    const made = new FleetEvents({
      db: { read: async (run: (tx: never) => unknown) => run(undefined as never) } as never,
      tail: {
        position,
        onStretch: () => () => undefined,
      } as never,
      registry: { size: 0, onChange: () => () => undefined } as never,
      readFleet: async () => ({
        nowMs: 0,
        head: position,
        workers: [{ gateways: gateways.map((state, index) => ({ state, row: { gatewayId: `g/${index}` } })) } as never],
      }),
      presentChange: () => ({}),
      run: 'run',
      log: silentLog,
      pollMs: 5,
      lingerMs: 20,
    });
    open.push({ close: () => made.stop() });
    const gateways: ('live' | 'lost')[] = Array.from({ length: EVENTS_KEPT_MAX }, () => 'live' as const);
    const start = read(made.listen()!);
    await expect.poll(() => start.events.map(({ event }) => event)).toEqual(['fleet']);
    gateways.fill('lost');
    await expect.poll(() => start.events.length).toBe(1 + EVENTS_KEPT_MAX);
    // All that is kept, and less than a listener may be behind.
    const all = read(made.listen(start.events[0]!.id)!);
    await expect.poll(() => all.events.length).toBeGreaterThan(0);
    const resumedWith = all.events[0]!.event;
    gateways[0] = 'live';
    await expect.poll(() => start.events.length).toBe(2 + EVENTS_KEPT_MAX);
    const tooOld = read(made.listen(start.events[0]!.id)!);
    await expect.poll(() => tooOld.events.map(({ event }) => event)).toEqual(['reset', 'fleet']);
    expect(resumedWith).toBe('gateway');
    const newest = start.events.at(-1)!.id!;
    for (const one of [start, all, tooOld]) await one.close();
    await expect.poll(() => lastingReset(made, newest), { interval: 100 }).toBe('reset');
  });

  it('cut off a listener that does not keep up, without keeping its backlog', async () => {
    const response = await listen();
    const reader = response.body!.getReader();
    open.push({ close: () => reader.cancel() });
    const { token } = (await post('/key/generate', { metadata: { kept: 0 } })).json;
    const name = 'x'.repeat(80);
    for (let n = 0; n < 40; n++) {
      const metadata = Object.fromEntries(Array.from({ length: 100 }, (_, field) => [`${name}_${n}_${field}`, n]));
      expect((await post('/key/update', { key: token, metadata })).status).toBe(200);
    }
    let bytes = 0;
    for (let done = false; !done; ) {
      const read = await reader.read();
      bytes += read.value?.length ?? 0;
      done = read.done;
    }
    expect(bytes).toBeGreaterThan(10_000);
    expect(bytes).toBeLessThanOrEqual(EVENT_BACKLOG_BYTES_MAX);
  });

  it('have a bounded number of listeners', async () => {
    const all = await Promise.all(Array.from({ length: EVENT_LISTENERS_MAX }, () => listen()));
    for (const response of all) open.push({ close: () => response.body!.cancel() });
    expect(all.every(({ status }) => status === 200)).toBe(true);
    expect((await listen()).status).toBe(409);
    await all[0]!.body!.cancel();
    const again = await listen();
    expect(again.status).toBe(200);
    await again.body!.cancel();
  });
});

describe('commands to a worker', () => {
  it.each(['drain', 'resync'] as const)(
    '%s reaches all its gateway processes, wherever they are connected',
    async (command) => {
      const far = await probe(`${command}er/0`);
      const near = await probe(`${command}er/1`, { socketPath: admin.feedSocket });
      const other = await probe('other/0');
      await expect
        .poll(async () => [await stateOf(`${command}er/0`), await stateOf(`${command}er/1`)])
        .toEqual(['live', 'live']);
      const { status, json } = await post(`/fleet/workers/${command}er/${command}`);
      expect([status, json]).toEqual([
        200,
        { worker: `${command}er`, command, gateways: [`${command}er/0`, `${command}er/1`] },
      ]);
      const got = (one: FleetProbe) => one.frames.filter((frame) => frame.t === 'command');
      await far.until(() => got(far).length > 0);
      await near.until(() => got(near).length > 0);
      for (const one of [far, near]) expect(got(one)).toEqual([{ t: 'command', command }]);
      expect(got(other)).toEqual([]);
    },
  );

  it('are void when nobody took them for a minute', async () => {
    const late = await probe('late/0');
    await expect.poll(() => stateOf('late/0')).toBe('live');
    late.close();
    await expect.poll(() => stateOf('late/0')).toBe('suspect');
    await admin.db.write((tx) =>
      sql`update claviger.gateway set command = 'drain', command_at = now() - interval '2 minutes' where gateway_id = 'late/0'`.execute(
        tx,
      ),
    );
    const back = await probe('late/0', { session: 'later' });
    const pending = async () =>
      (
        await admin.db.read((tx) =>
          sql<{ command: string | null }>`select command from claviger.gateway where gateway_id = 'late/0'`.execute(tx),
        )
      ).rows[0]?.command;
    await expect.poll(pending, { timeout: 5_000 }).toBeNull();
    expect(back.has('command')).toBe(false);
  });

  it('are refused where nobody would hear them', async () => {
    expect((await post('/fleet/workers/nobody/drain')).status).toBe(404);
    const old = await probe('old/0', { protocol: 1 });
    await expect.poll(() => stateOf('old/0')).toBe('live');
    expect((await post('/fleet/workers/old/drain')).status).toBe(409);
    old.close();
  });

  it('remove forgets what is lost, and refuses what is there', async () => {
    const one = await probe('gone/0');
    await expect.poll(() => stateOf('gone/0')).toBe('live');
    const refused = await post('/fleet/workers/gone/remove');
    expect([refused.status, refused.json.error.message]).toEqual([409, expect.stringContaining('gone/0')]);
    one.close();
    await expect.poll(() => stateOf('gone/0')).toBe('suspect');
    expect((await post('/fleet/workers/gone/remove')).status).toBe(409);
    await admin.db.write((tx) =>
      sql`update claviger.gateway set heard_at = now() - interval '2 minutes' where gateway_id = 'gone/0'`.execute(tx),
    );
    expect((await post('/fleet/workers/gone/remove')).json).toEqual({ worker: 'gone', gateways_forgotten: 1 });
    expect(await stateOf('gone/0')).toBeUndefined();
  });
});
