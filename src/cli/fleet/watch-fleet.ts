import { OperatorError } from '../../util/operator-error.ts';
import type { CliContext } from '../context.ts';
import type { ManagementClient } from '../management-client.ts';
import { by, cut } from './changes-text.ts';
import { readEvents, type StreamEvent } from './read-events.ts';

/** Heartbeats come every 15 s; a stream silent for so long is dead. */
const SILENCE_MAX_MS = 45_000;
const RETRY_MS = 2_000;

/**
 * Prints what happens until it is interrupted; a stream that ends or falls silent is opened again. Ends by itself only when it is refused at
 * the start (1).
 */
export async function watchFleet(
  client: ManagementClient,
  { json = false }: { readonly json?: boolean },
  { out, err, signal }: CliContext & { readonly signal?: AbortSignal },
): Promise<number> {
  const isOver = (): boolean => signal?.aborted === true;
  for (let connectedOnce = false; !isOver(); ) {
    const dead = new AbortController();
    signal?.addEventListener('abort', () => dead.abort(), { once: true });
    let silence = setTimeout(() => dead.abort(), SILENCE_MAX_MS);
    try {
      const response = await client.stream('/fleet/events', dead.signal);
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
        out(json ? `${JSON.stringify(event)}\n` : eventText(event, new Date()));
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
    if (!isOver()) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return 0;
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
    case 'gateway':
      return `gateway  ${data.gateway} (${data.region}) ${data.was === null ? `arrived, ${data.state}` : `${data.was} -> ${data.state}`}`;
    default:
      return `${event}  ${cut(JSON.stringify(data), 100)}`;
  }
}
