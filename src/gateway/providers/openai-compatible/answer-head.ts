/** The head of a provider's answer, as far as it matters here. */
export interface AnswerHead {
  readonly status: number;
  readonly contentType: string;
  readonly isEventStream: boolean;
  /** `llm_provider-<name>` for each header of the provider, as a flat list. */
  readonly providerHeaders: readonly string[];
}

/** Not passed on: they speak of the other connection, or of bytes that we may change. */
const NOT_PASSED_ON = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'content-encoding',
  'set-cookie',
  'date',
]);

/** Header names and values that may be written back; a provider can send what `writeHead` would throw at. */
const SAFE_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/;
const SAFE_VALUE = /^[\t\x20-\x7e\x80-\xff]{0,4096}$/;

export function answerHead(status: number, raw: readonly Buffer[] | readonly string[]): AnswerHead {
  let contentType = 'application/json';
  const providerHeaders: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = latin1(raw[index]!).toLowerCase();
    if (NOT_PASSED_ON.has(name)) continue;
    const value = latin1(raw[index + 1]!);
    if (!SAFE_NAME.test(name) || !SAFE_VALUE.test(value)) continue;
    if (name === 'content-type') contentType = value;
    providerHeaders.push(`llm_provider-${name}`, value);
  }
  return { status, contentType, isEventStream: contentType.startsWith('text/event-stream'), providerHeaders };
}

function latin1(value: Buffer | string): string {
  return typeof value === 'string' ? value : value.toString('latin1');
}
