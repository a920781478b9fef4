/** One line per finished LLM request. */
export interface AccessRecord {
  readonly atMs: number;
  readonly callId: string;
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly durationMs: number;
  readonly modelGroup: string;
  readonly modelId: string;
  /** Alias or abbreviated name; never a key or its hash. */
  readonly key: string;
  readonly stream: boolean;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly costNano: number;
  readonly errorCode: string | null;
}

/** Characters kept back before they are written at once; also written every `FLUSH_INTERVAL_MS`. */
const BUFFER_CHARS_MAX = 32 * 1024;
const FLUSH_INTERVAL_MS = 200;

/**
 * The access log has its own writer because it is on the request path: a line is put together by hand and written with
 * others. A crash may lose the last fifth of a second of it; the usage log is what nothing is lost from.
 */
export class AccessLog {
  readonly #write: (text: string) => void;
  readonly #json: boolean;
  /** Lines; joined when they are written. */
  #lines: string[] = [];
  #chars = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: { readonly json: boolean; readonly write: (text: string) => void }) {
    this.#json = options.json;
    this.#write = options.write;
  }

  record(record: AccessRecord): void {
    const line = this.#json ? jsonLine(record) : textLine(record);
    this.#lines.push(line);
    this.#chars += line.length;
    if (this.#chars >= BUFFER_CHARS_MAX) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), FLUSH_INTERVAL_MS);
  }

  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#lines.length === 0) return;
    const text = this.#lines.join('');
    this.#lines = [];
    this.#chars = 0;
    this.#write(text);
  }
}

/** An access log that writes nothing: log level above info. */
export const NO_ACCESS_LOG = new AccessLog({ json: false, write: () => {} });

function jsonLine(record: AccessRecord): string {
  return `${JSON.stringify({ level: 'info', time: new Date(record.atMs).toISOString(), message: 'request', ...record, atMs: undefined })}\n`;
}

function textLine(r: AccessRecord): string {
  return [
    isoTime(r.atMs),
    ' INFO  ',
    r.method,
    ' ',
    r.route,
    ' ',
    r.status,
    ' ',
    Math.round(r.durationMs),
    r.modelGroup === '' ? ' ms' : ' ms ',
    r.modelGroup,
    ' ',
    r.promptTokens,
    '+',
    r.completionTokens,
    ' tokens $',
    r.costNano / 1e9,
    ' key=',
    r.key,
    ' call=',
    r.callId,
    r.errorCode === null ? '\n' : ` ${r.errorCode}\n`,
  ].join('');
}

let isoAtMs = Number.NaN;
let iso = '';

/** Requests that end in the same millisecond share its text. */
function isoTime(atMs: number): string {
  if (atMs !== isoAtMs) {
    isoAtMs = atMs;
    iso = new Date(atMs).toISOString();
  }
  return iso;
}
