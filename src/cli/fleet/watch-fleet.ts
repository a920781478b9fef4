import type { ChangeRow, FleetChanges } from '../../contract/schemas/fleet.ts';
import { OperatorError } from '../../util/operator-error.ts';
import type { CliContext } from '../context.ts';
import type { ManagementClient } from '../management-client.ts';
import { by, cut } from './changes-text.ts';
import { readEvents, type StreamEvent } from './read-events.ts';

/** Heartbeats come every 15 s; a stream silent for so long is dead. */
const SILENCE_MAX_MS = 45_000;
const RETRY_MS = 2_000;

/** Changes that are read from the list after a gap; of more, these are the newest. */
const CHANGES_READ_AGAIN_MAX = 100;

/**
 * Prints what happens until it is interrupted. A stream that ends or falls silent is opened again, and goes on behind the last event; where
 * that is not kept, changes that were missed are read from the list. Ends by itself only when it is refused at the start (1).
 */
export async function watchFleet(
  client: ManagementClient,
  { json = false, retryMs = RETRY_MS }: { readonly json?: boolean; readonly retryMs?: number },
  { out, err, signal }: CliContext & { readonly signal?: AbortSignal },
): Promise<number> {
  const isOver = (): boolean => signal?.aborted === true;
  const print = (event: StreamEvent) => out(json ? `${JSON.stringify(event)}\n` : eventText(event, new Date()));
  let lastId: string | null = null;
  let newest: Position | null = null;
  for (let connectedOnce = false; !isOver(); ) {
    const dead = new AbortController();
    signal?.addEventListener('abort', () => dead.abort(), { once: true });
    let silence = setTimeout(() => dead.abort(), SILENCE_MAX_MS);
    try {
      const resume: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
      const response = await client.stream('/fleet/events', dead.signal, resume);
      if (response.status >= 400 && (!connectedOnce || response.status < 500)) {
        const { error } = (await response.json().catch(() => ({}))) as { error?: { message?: string } };
        throw new OperatorError(error?.message ?? `${client.url} answered with status ${response.status}`);
      }
      if (response.body === null || response.status >= 400) throw new Error(`status ${response.status}`);
      connectedOnce = true;
      const alive = async function* (body: AsyncIterable<Uint8Array>) {
        for await (const chunk of body) {
          clearTimeout(silence);
          silence = setTimeout(() => dead.abort(), SILENCE_MAX_MS);
          yield chunk;
        }
      };
      for await (const event of readEvents(alive(response.body))) {
        lastId = event.id ?? lastId;
        const position = positionOf(event);
        // Read from the list already.
        if (event.event === 'change' && newest !== null && position !== null && !isBefore(newest, position)) continue;
        print(event);
        if (position !== null && (newest === null || isBefore(newest, position))) newest = position;
        if (event.event !== 'reset' || newest === null) continue;
        for (const change of await changesBehind(newest, client)) {
          print({ event: 'change', data: change, id: null });
          newest = change;
        }
      }
      err('claviger: the stream ended; connecting again\n');
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      if (!isOver()) {
        if (!connectedOnce) throw new OperatorError(`${client.url} does not answer.`, { cause: error });
        err('claviger: the connection was lost; connecting again\n');
      }
    } finally {
      clearTimeout(silence);
    }
    if (!isOver()) await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
  return 0;
}

type Position = Pick<ChangeRow, 'epoch' | 'rev'>;

function isBefore(a: Position, b: Position): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.rev < b.rev);
}

/** How far the log was when the event was made. */
function positionOf({ event, data }: StreamEvent): Position | null {
  if (event === 'change') return data as ChangeRow;
  return event === 'fleet' ? (data as { head: Position }).head : null;
}

/** Oldest first. */
async function changesBehind(position: Position, client: ManagementClient): Promise<ChangeRow[]> {
  const { json, problem } = await client.call('GET', `/fleet/changes?limit=${CHANGES_READ_AGAIN_MAX}`);
  if (problem !== null) throw new Error(problem);
  return (json as FleetChanges).changes.filter((change) => isBefore(position, change)).reverse();
}

/** One line. */
export function eventText({ event, data }: StreamEvent, at: Date): string {
  return `${at.toTimeString().slice(0, 8)}  ${what(event, data)}\n`.replace(/\p{Cc}(?!$)/gu, '?');
}

// biome-ignore lint/suspicious/noExplicitAny: each event has its own shape.
function what(event: string, data: any): string {
  switch (event) {
    case 'fleet': {
      const states = Object.entries(data.gateways as Record<string, number>).filter(([, count]) => count > 0);
      const counts = states.map(([state, count]) => `${count} ${state}`).join(', ');
      return `fleet    revision ${data.head.rev}, gateway processes: ${counts === '' ? 'none' : counts}`;
    }
    case 'change': {
      const fields = data.fields.length === 0 ? '' : `: ${cut(data.fields.join(', '), 60)}`;
      return `change   ${data.rev}  ${data.kind} ${data.op} ${cut(data.object, 20)} by ${by(data)}${fields}`;
    }
    case 'reset':
      return `reset    ${data.reason} Changes follow as far as the list has them; states may have changed unseen.`;
    case 'gateway':
      return `gateway  ${data.gateway} (${data.region}) ${data.was === null ? `arrived, ${data.state}` : `${data.was} -> ${data.state}`}`;
    default:
      return `${event}  ${cut(JSON.stringify(data), 100)}`;
  }
}
