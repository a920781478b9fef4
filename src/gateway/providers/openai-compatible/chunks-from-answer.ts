import type { JsonObject, JsonValue } from '../../../domain/virtual-key.ts';

/** A complete JSON answer as the stream that the client asked for: one chunk per choice, usage when asked, `[DONE]`. */
export function chunksFromAnswer(body: Buffer, includeUsage: boolean): string {
  const answer = JSON.parse(body.toString('utf8')) as JsonObject;
  const isText = answer['object'] === 'text_completion';
  const envelope: JsonObject = {
    id: answer['id'] ?? null,
    object: isText ? 'text_completion' : 'chat.completion.chunk',
    created: answer['created'] ?? 0,
    model: answer['model'] ?? null,
  };
  const choices = Array.isArray(answer['choices']) ? answer['choices'] : [];
  let stream = '';
  for (const choice of choices) {
    if (!isObject(choice)) continue;
    const { message, ...rest } = choice;
    const chunk = isText || message === undefined ? choice : { ...rest, delta: numberToolCalls(message) };
    stream += event({ ...envelope, choices: [chunk] });
  }
  if (includeUsage && isObject(answer['usage'])) stream += event({ ...envelope, choices: [], usage: answer['usage'] });
  return `${stream}data: [DONE]\n\n`;
}

/** Tool calls of a delta carry an index; those of a message do not. */
function numberToolCalls(message: JsonValue): JsonValue {
  if (!isObject(message) || !Array.isArray(message['tool_calls'])) return message;
  const calls = message['tool_calls'].map((call, index) => (isObject(call) ? { index, ...call } : call));
  return { ...message, tool_calls: calls };
}

function event(value: JsonObject): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
