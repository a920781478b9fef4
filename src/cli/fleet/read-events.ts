/** A server-sent event. */
export interface StreamEvent {
  readonly event: string;
  readonly data: unknown;
  /** What to name when the stream is opened again, to hear what comes behind it. */
  readonly id: string | null;
}

/** An event is at most so long; a stream that has none for so many characters is not ours. */
const EVENT_CHARS_MAX = 16 * 1024 * 1024;

/** The events of a stream as they come; ends with it. */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > EVENT_CHARS_MAX) throw new Error('the stream is not one of events');
    for (const block of blocks) {
      const event = fieldOf(block, 'event');
      const data = fieldOf(block, 'data');
      if (event !== null && data !== null) yield { event, data: JSON.parse(data), id: fieldOf(block, 'id') };
    }
  }
}

function fieldOf(block: string, name: string): string | null {
  const line = block.split('\n').find((one) => one.startsWith(`${name}: `));
  return line === undefined ? null : line.slice(name.length + 2);
}
