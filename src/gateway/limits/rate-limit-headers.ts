import { headerText } from '../http/header-text.ts';
import type { LimitedSubject } from './limited-subject.ts';
import type { RateLimits } from './rate-limits.ts';

/** `x-ratelimit-*` of an admitted call: per descriptor, and of the key in OpenAI's names. */
export function pushRateLimitHeaders(headers: string[], limits: RateLimits, subjects: readonly LimitedSubject[]): void {
  let named = '';
  for (const subject of subjects) {
    const { descriptor, rpm, tpm } = subject;
    if (rpm !== null && !named.includes(`${descriptor}/requests `)) {
      named += `${descriptor}/requests `;
      push(headers, limits, subject, 'requests', rpm);
    }
    if (tpm !== null && !named.includes(`${descriptor}/tokens `)) {
      named += `${descriptor}/tokens `;
      push(headers, limits, subject, 'tokens', tpm);
    }
  }
}

function push(
  headers: string[],
  limits: RateLimits,
  subject: LimitedSubject,
  quantity: 'requests' | 'tokens',
  limit: number,
): void {
  const remaining = String(limits.remaining(subject, quantity, limit));
  headers.push(
    `x-ratelimit-${subject.descriptor}-remaining-${quantity}`,
    remaining,
    `x-ratelimit-${subject.descriptor}-limit-${quantity}`,
    String(limit),
  );
  if (subject.descriptor !== 'api_key') return;
  headers.push(
    `x-ratelimit-remaining-${quantity}`,
    remaining,
    `x-ratelimit-limit-${quantity}`,
    String(limit),
    `x-ratelimit-reset-${quantity}`,
    `${limits.secondsUntilFree(subject, quantity, limit)}s`,
  );
}

/** On every answer to a key with limits. */
export function pushKeyLimitHeaders(
  headers: string[],
  { rpm, tpm }: { readonly rpm: number | null; readonly tpm: number | null },
): void {
  if (rpm !== null) headers.push('x-litellm-key-rpm-limit', headerText(String(rpm)));
  if (tpm !== null) headers.push('x-litellm-key-tpm-limit', headerText(String(tpm)));
}
