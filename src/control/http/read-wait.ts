import { ClavigerError } from '../../domain/error-catalogue.ts';

/** How long the answer of a write may wait for the fleet, and for which part of it. */
export interface Wait {
  readonly scope: 'all' | 'region';
  readonly timeoutMs: number;
}

export const WAIT_TIMEOUT_MAX_MS = 10_000;
const WAIT_TIMEOUT_DEFAULT_MS = 2_000;

/** `?wait=all|region|none&timeout=2s` of a write. Null: the answer waits for nobody else. A longer time than the longest is that. */
export function readWait(rawQuery: string): Wait | null {
  const given = new URLSearchParams(rawQuery);
  const scope = given.get('wait');
  if (scope === null || scope === 'none') return null;
  if (scope !== 'all' && scope !== 'region') {
    throw new ClavigerError(
      'bad_request',
      { reason: `wait must be all, region or none, not "${scope.slice(0, 40)}".` },
      { param: 'wait' },
    );
  }
  return { scope, timeoutMs: Math.min(WAIT_TIMEOUT_MAX_MS, timeoutFrom(given.get('timeout'))) };
}

/** `2s`, `500ms`, or a number of seconds. */
function timeoutFrom(text: string | null): number {
  if (text === null) return WAIT_TIMEOUT_DEFAULT_MS;
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,9})?)(ms|s)?$/.exec(text.trim()) ?? [];
  if (amount === undefined) {
    throw new ClavigerError(
      'bad_request',
      { reason: `timeout must be a time such as 2s or 500ms, not "${text.slice(0, 40)}".` },
      { param: 'timeout' },
    );
  }
  return Number(amount) * (unit === 'ms' ? 1 : 1_000);
}
