/**
 * The one reading of a request target, used by gateway and control process alike: what one of them authorises is what the
 * other one routes. Whatever two programs could read differently (an encoded dot segment, a backslash, a second layer
 * of percent-encoding) is refused instead of guessed.
 */
export type NormalisedTarget =
  | {
      readonly ok: true;
      /** Below the server root path; starts with `/`, no empty or dot segment, no trailing slash except `/` itself. */
      readonly path: string;
      /** Raw, without the question mark; '' when there is none. */
      readonly query: string;
    }
  | { readonly ok: false; readonly refusal: TargetRefusal };

/** `outside_root` is a 404: the path is clear but not ours. The others are a 400. */
export type TargetRefusal =
  | 'not a path'
  | 'raw control or non-ASCII character'
  | 'backslash'
  | 'fragment'
  | 'broken percent-encoding'
  | 'encoded control character'
  | 'double encoding'
  | 'encoded dot segment'
  | 'path above the root'
  | 'outside_root';

/**
 * `rawTarget` is the request target as received; `rootPath` is '' or '/prefix' without a trailing slash.
 * An absolute-form target loses its scheme and authority.
 */
export function normaliseTarget(rawTarget: string, rootPath: string): NormalisedTarget {
  const target = rawTarget.charCodeAt(0) === SLASH ? rawTarget : stripAuthority(rawTarget);
  if (target === null) return refuse('not a path');
  const mark = target.indexOf('?');
  const rawPath = mark === -1 ? target : target.slice(0, mark);
  const query = mark === -1 ? '' : target.slice(mark + 1);
  if (FORBIDDEN_IN_QUERY.test(query)) return refuse('raw control or non-ASCII character');
  if (query.includes('#')) return refuse('fragment');

  let path = rawPath;
  if (!isPlain(rawPath)) {
    const normal = normalisePath(rawPath);
    if (typeof normal !== 'string') return normal;
    path = normal;
  }
  if (rootPath === '') return { ok: true, path, query };
  if (path === rootPath) return { ok: true, path: '/', query };
  if (!path.startsWith(rootPath) || path.charCodeAt(rootPath.length) !== SLASH) return refuse('outside_root');
  return { ok: true, path: path.slice(rootPath.length), query };
}

const SLASH = 0x2f;
const DOT = 0x2e;
/** The query is never a route, so only what could break a line of a protocol or a log is refused in it. */
const FORBIDDEN_IN_QUERY = /[\x00-\x20\x7f]/;

function refuse(refusal: TargetRefusal): NormalisedTarget & { readonly ok: false } {
  return { ok: false, refusal };
}

/** `http://host/path` to `/path`; null when it is not an absolute-form target either. */
function stripAuthority(target: string): string | null {
  const match = /^https?:\/\/[^/?#\\\s]+/i.exec(target);
  if (match === null) return null;
  const rest = target.slice(match[0].length);
  if (rest === '' || rest.startsWith('?')) return `/${rest}`;
  return rest.startsWith('/') ? rest : null;
}

/** True when the path is in normal form already, which nearly every request is: one pass, nothing allocated. */
function isPlain(path: string): boolean {
  const last = path.length - 1;
  if (last > 0 && path.charCodeAt(last) === SLASH) return false;
  let previous = 0;
  for (let index = 0; index <= last; index++) {
    const char = path.charCodeAt(index);
    if (char <= 0x20 || char > 0x7e || char === 0x25 || char === 0x5c || char === 0x23) return false;
    if (previous === SLASH && (char === SLASH || char === DOT)) return false;
    previous = char;
  }
  return true;
}

function normalisePath(rawPath: string): string | (NormalisedTarget & { readonly ok: false }) {
  if (/[^\x21-\x7e]/.test(rawPath)) return refuse('raw control or non-ASCII character');
  if (rawPath.includes('\\')) return refuse('backslash');
  if (rawPath.includes('#')) return refuse('fragment');
  if (/%(?![0-9a-f]{2})/i.test(rawPath)) return refuse('broken percent-encoding');
  if (/%(?:[01][0-9a-f]|7f)/i.test(rawPath)) return refuse('encoded control character');
  if (/%25/.test(rawPath)) return refuse('double encoding');
  if (/%5c/i.test(rawPath)) return refuse('backslash');
  if (!isUtf8Encoded(rawPath)) return refuse('broken percent-encoding');

  const kept: string[] = [];
  for (const rawSegment of rawPath.split('/')) {
    if (hidesDotSegment(rawSegment)) return refuse('encoded dot segment');
    const segment = decodeUnreserved(rawSegment);
    if (segment === '' || segment === '.') continue;
    if (segment !== '..') kept.push(segment);
    else if (kept.pop() === undefined) return refuse('path above the root');
  }
  return `/${kept.join('/')}`;
}

/** True for `a%2F..`, `%2F`, `.%2Fa`: split at the encoded slash it has a dot or empty segment that plain splitting does not see. */
function hidesDotSegment(rawSegment: string): boolean {
  if (!/%2f/i.test(rawSegment)) return false;
  return rawSegment.split(/%2f/i).some((piece) => {
    const decoded = decodeUnreserved(piece);
    return decoded === '' || decoded === '.' || decoded === '..';
  });
}

/**
 * Percent-encoding of characters that never need it is removed (RFC 3986, 6.2.2.2), so `%2e%2e` is `..` and `%6bey` is
 * `key`; what stays encoded gets upper-case digits.
 */
function decodeUnreserved(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (whole, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9\-._~]/.test(char) ? char : whole.toUpperCase();
  });
}

function isUtf8Encoded(path: string): boolean {
  if (!/%[89a-f]/i.test(path)) return true;
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}
