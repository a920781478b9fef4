import { readText } from '../settings/read-variable.ts';
import { OperatorError } from '../util/operator-error.ts';

export const DEFAULT_URL = 'http://localhost:4000';
/** A call that takes longer is given up. */
const CALL_TIMEOUT_MS = 30_000;

export interface ManagementAnswer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: answers have as many shapes as there are routes.
  readonly json: any;
  /** What the answer says is wrong; null below 400. */
  readonly problem: string | null;
}

/** The management API of an instance, as any client sees it. */
export interface ManagementClient {
  readonly url: string;
  call(method: string, path: string, body?: unknown): Promise<ManagementAnswer>;
  /** A stream of events, open until either side ends it; silent ones too. Throws when nobody answers. */
  stream(path: string, signal: AbortSignal, headers?: Readonly<Record<string, string>>): Promise<Response>;
}

export interface ConnectionOptions {
  readonly url?: string | undefined;
  readonly key?: string | undefined;
}

/** From options, then environment. Throws a sentence when there is no key, and per call when nobody answers. */
export function managementClient(
  options: ConnectionOptions,
  env: Readonly<Record<string, string | undefined>>,
): ManagementClient {
  const url = (options.url ?? readText(env, 'CLAVIGER_URL') ?? DEFAULT_URL).replace(/\/+$/, '');
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new OperatorError('The address (--url, CLAVIGER_URL) must begin with http:// or https://.');
  }
  const key = options.key ?? readText(env, 'LITELLM_MASTER_KEY');
  if (key === null) {
    throw new OperatorError('There is no key to call with: give --key, or set LITELLM_MASTER_KEY.');
  }
  return {
    url,
    stream: (path, signal, headers = {}) =>
      fetch(`${url}${path}`, { headers: { ...headers, authorization: `Bearer ${key}` }, signal }),
    async call(method, path, body) {
      let response: Response;
      let text: string;
      try {
        response = await fetch(`${url}${path}`, {
          method,
          headers: {
            authorization: `Bearer ${key}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
        });
        text = await response.text();
      } catch (error) {
        throw new OperatorError(
          `${url} does not answer (${reasonOf(error)}). Choose another with --url or CLAVIGER_URL.`,
          {
            cause: error,
          },
        );
      }
      const json = parsed(text);
      const { status, headers } = response;
      return { status, headers, json, problem: status < 400 ? null : problemOf(status, json) };
    },
  };
}

function parsed(text: string): ManagementAnswer['json'] {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function problemOf(status: number, json: ManagementAnswer['json']): string {
  const message = json?.error?.message;
  return typeof message === 'string' ? message : `it answered with status ${status}`;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `nothing within ${CALL_TIMEOUT_MS / 1_000} s`;
  const cause = error.cause as (Error & { code?: string }) | undefined;
  return cause?.code ?? cause?.message ?? error.message;
}
