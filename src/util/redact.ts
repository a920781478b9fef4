/**
 * Keeps secrets out of text: values that were registered, and whatever has the shape of one. It works on finished text, so that no way of
 * putting a secret into a message (an error, a nested object, a stack) gets around it.
 */
export interface Redactor {
  /** Registers a value. Values under `SECRET_LENGTH_MIN` characters are ignored: hiding them would eat ordinary text. */
  hide(secret: string): void;
  /** The text with every secret replaced. */
  redact(text: string): string;
}

export const SECRET_LENGTH_MIN = 6;
export const HIDDEN = '[hidden]';

export function createRedactor(): Redactor {
  const secrets = new Set<string>();
  let known: RegExp | null = null;
  return {
    hide(secret) {
      if (secret.length < SECRET_LENGTH_MIN || secrets.has(secret)) return;
      secrets.add(secret);
      // Inside JSON text a secret with quotes, backslashes or line ends looks different, and in a URL too.
      secrets.add(JSON.stringify(secret).slice(1, -1));
      secrets.add(encodeURIComponent(Buffer.from(secret, 'utf8').toString('utf8')));
      known = null;
    },
    redact(text) {
      // Made when it is asked for: secrets are registered by the hundred.
      if (known === null && secrets.size > 0) known = anyOf(secrets);
      return redactShapes(known === null ? text : text.replace(known, HIDDEN));
    },
  };
}

/** The longest first: one secret may be the beginning of another. */
function anyOf(secrets: ReadonlySet<string>): RegExp {
  const sources = [...secrets].sort((a, b) => b.length - a.length).map(escapeForRegExp);
  return new RegExp(sources.join('|'), 'g');
}

/** Replaces what looks like a secret, without knowing any. */
export function redactShapes(text: string): string {
  let result = text;
  // The cheap questions come first: almost every line has nothing to hide, and access lines are written per request.
  if (KEY_HINT.test(result)) {
    result = result.replace(SK_KEY, `sk-${HIDDEN}`).replace(AUTHORIZATION, `$1 ${HIDDEN}`);
    result = result.replace(PROVIDER_KEY, `$1${HIDDEN}`).replace(PRIVATE_KEY, HIDDEN);
  }
  if (result.includes('@') && result.includes('://')) {
    result = result.replace(DATABASE_URL, `$1${HIDDEN}@`).replace(ANY_URL, `$1${HIDDEN}@`);
  }
  if (PARAMETER_HINT.test(result)) result = result.replace(PARAMETER, `=${HIDDEN}`);
  return result;
}

/** An error as fields of a log record: type, message, code, causes, stack; redacted. */
export interface RedactedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: RedactedError;
}

export function redactError(error: unknown, redact: (text: string) => string = redactShapes, depth = 0): RedactedError {
  if (!(error instanceof Error)) return { type: typeof error, message: redact(describe(error)) };
  const code = (error as { code?: unknown }).code;
  return {
    type: error.name,
    message: redact(error.message),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: redact(error.stack) }),
    ...(error.cause === undefined || depth >= CAUSES_MAX ? {} : { cause: redactError(error.cause, redact, depth + 1) }),
  };
}

/** Causes of causes beyond this many are left out. */
const CAUSES_MAX = 4;

const KEY_HINT = /sk-[A-Za-z0-9_-]|[Bb]earer|BEARER|[Bb]asic|BASIC|gsk_|AIza|AKIA|xai-|hf_|pplx-|nvapi-|PRIVATE KEY/;
/** `sk-...abcd`, the shown form of a key, is not matched: a dot is not part of a key. */
const SK_KEY = /(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{6,}/g;
const AUTHORIZATION = /\b(Bearer|Basic)[ +:]+[A-Za-z0-9._~+/=-]{6,}/gi;
const PROVIDER_KEY = /(?<![A-Za-z0-9])(gsk_|AIza|AKIA|xai-|hf_|pplx-|nvapi-)[A-Za-z0-9_-]{12,}/g;
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
/** Passwords in these are often typed unescaped, so everything up to the last `@` goes. */
const DATABASE_URL = /\b((?:postgres(?:ql)?|rediss?|mysql|mongodb(?:\+srv)?):\/\/[^\s:/@"'<>]*:)[^\s"'<>]*@/gi;
const ANY_URL = /\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@"'<>]*:)[^\s/@"'<>]+@/gi;
const PARAMETER_HINT = /(?:word|passwd|key|_secret|_token)=/i;
const PARAMETER = /(?<=password|passwd|api[-_]?key|client_secret|access_token|[?&]key)=[^\s&"',;]+/gi;

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

function describe(value: unknown): string {
  if (typeof value === 'string') return value;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
