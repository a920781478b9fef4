import { OperatorError } from '../util/operator-error.ts';
import { createRedactor, type Redactor, redactError } from '../util/redact.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * One record per line, on everything that is worth telling an operator. All text goes through redaction after it is put
 * together, so it does not matter where in a record a secret sits. A field whose value is an `Error` becomes its type,
 * message, code, causes and stack.
 */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A log that adds `fields` to each record; shares level, output and hidden secrets with its parent. */
  child(fields: object): Log;
  /** Registers a secret: from now on no record of this log, its parent or its children contains it. */
  hide(secret: string | null | undefined): void;
  /** For hot paths: skip building fields that nobody will see. */
  isEnabled(level: LogLevel): boolean;
  /** Text for other outputs (an answer, a crash report) with the secrets taken out. */
  redact(text: string): string;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** JSON lines; else one compact line for people. */
  readonly json: boolean;
  /** Receives complete lines. Default: standard output, all lines of one event-loop turn in one write. */
  readonly write?: (lines: string) => void;
  readonly nowMs?: () => number;
}

/** Longer string values and messages are cut, and say by how much. */
export const LOG_VALUE_CHARS_MAX = 8_192;

export function createLog(options: LogOptions): Log {
  const core: LogCore = {
    threshold: SEVERITY[options.level],
    format: options.json ? jsonLine : humanLine,
    write: options.write ?? standardOutput(),
    redactor: createRedactor(),
    nowMs: options.nowMs ?? Date.now,
  };
  return new LineLog(core, {});
}

const SEVERITY: Readonly<Record<LogLevel, number>> = { debug: 10, info: 20, warn: 30, error: 40 };

interface LogCore {
  readonly threshold: number;
  readonly format: (time: string, level: LogLevel, message: string, fields: Fields) => string;
  readonly write: (lines: string) => void;
  readonly redactor: Redactor;
  readonly nowMs: () => number;
}

type Fields = Readonly<Record<string, unknown>>;

class LineLog implements Log {
  readonly #core: LogCore;
  readonly #bound: Fields;

  constructor(core: LogCore, bound: Fields) {
    this.#core = core;
    this.#bound = bound;
  }

  debug(fields: object, message: string): void {
    this.#record('debug', fields as Fields, message);
  }

  info(fields: object, message: string): void {
    this.#record('info', fields as Fields, message);
  }

  warn(fields: object, message: string): void {
    this.#record('warn', fields as Fields, message);
  }

  error(fields: object, message: string): void {
    this.#record('error', fields as Fields, message);
  }

  child(fields: object): Log {
    return new LineLog(this.#core, { ...this.#bound, ...fields });
  }

  hide(secret: string | null | undefined): void {
    if (typeof secret === 'string') this.#core.redactor.hide(secret);
  }

  isEnabled(level: LogLevel): boolean {
    return SEVERITY[level] >= this.#core.threshold;
  }

  redact(text: string): string {
    return this.#core.redactor.redact(text);
  }

  #record(level: LogLevel, fields: Fields, message: string): void {
    if (!this.isEnabled(level)) return;
    const { format, nowMs, redactor, write } = this.#core;
    const time = new Date(nowMs()).toISOString();
    const line = format(time, level, plainText(message), { ...this.#bound, ...fields });
    write(`${redactor.redact(line)}\n`);
  }
}

function jsonLine(time: string, level: LogLevel, message: string, fields: Fields): string {
  const record: Record<string, unknown> = { time, level, message };
  for (const name in fields) {
    const value = fields[name];
    // A field may not replace time, level or message.
    record[name in RESERVED ? `${name}_` : name] = plainValue(value);
  }
  return safeJson(record);
}

const RESERVED = { time: true, level: true, message: true };

function humanLine(time: string, level: LogLevel, message: string, fields: Fields): string {
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${message.replaceAll('\n', ' ')}`;
  for (const name in fields) {
    const value = fields[name];
    if (value === undefined || value === null) continue;
    if (value instanceof Error) {
      const { message: text, stack } = redactError(value);
      line += ` ${name}=${JSON.stringify(text)}`;
      // Expected errors (with a code, or a sentence for the operator) explain themselves; for the others the stack is what one needs.
      if (stack !== undefined && !('code' in value) && !(value instanceof OperatorError))
        line += `\n    ${stack.replaceAll('\n', '\n    ')}`;
    } else if (typeof value === 'string') {
      const text = plainText(value);
      line += ` ${name}=${BARE.test(text) ? text : JSON.stringify(text)}`;
    } else {
      line += ` ${name}=${safeJson(value)}`;
    }
  }
  return line;
}

const BARE = /^[^\s"=\p{Cc}]+$/u;

function plainValue(value: unknown): unknown {
  if (typeof value === 'string') return plainText(value);
  if (value instanceof Error) return redactError(value);
  if (typeof value === 'bigint') return value.toString();
  return value;
}

function plainText(text: string): string {
  if (text.length <= LOG_VALUE_CHARS_MAX) return text;
  return `${text.slice(0, LOG_VALUE_CHARS_MAX)}... (${text.length - LOG_VALUE_CHARS_MAX} more characters)`;
}

/** JSON of anything: big integers as text, a cycle or a throwing getter as a remark instead of an exception. */
function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value, jsonReplacer) ?? 'null';
  } catch (error) {
    return JSON.stringify({ unprintable: error instanceof Error ? error.message : String(error) });
  }
}

function jsonReplacer(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Error ? redactError(value) : value;
}

/** Standard output, written once per event-loop turn, and at exit what is left. */
function standardOutput(): (lines: string) => void {
  let pending = '';
  const flush = (): void => {
    const lines = pending;
    pending = '';
    if (lines !== '') process.stdout.write(lines);
  };
  process.once('exit', flush);
  // Whoever reads the log may go away (a closed pipe); serving goes on without it.
  process.stdout.on('error', () => undefined);
  return (lines) => {
    if (pending === '') setImmediate(flush);
    pending += lines;
    if (pending.length >= PENDING_CHARS_MAX) flush();
  };
}

/** What waits for the end of the turn at most; beyond it, it is written at once. */
const PENDING_CHARS_MAX = 65_536;
