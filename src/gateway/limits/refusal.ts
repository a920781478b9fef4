import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { LimitedQuantity, LimitedSubject } from './limited-subject.ts';

/** Why a call was not admitted. */
export interface Refusal {
  readonly subject: LimitedSubject;
  readonly quantity: LimitedQuantity;
  readonly limit: number;
  readonly remaining: number;
  /** Whole seconds until the call can be admitted, at least 1. */
  readonly resetSeconds: number;
}

/** `YYYY-MM-DD HH:MM:SS UTC`. */
export function resetText(refusal: Refusal, nowMs: number): string {
  const moment = new Date(nowMs + refusal.resetSeconds * 1_000).toISOString();
  return `${moment.slice(0, 10)} ${moment.slice(11, 19)} UTC`;
}

/** The 429 of a refusal; of a deployment it is the router's. */
export function refusalError(refusal: Refusal, nowMs: number, requestedModel: string): ClavigerError {
  const { subject, quantity, limit, remaining, resetSeconds } = refusal;
  const retryAfterSeconds = resetSeconds;
  if (subject.descriptor === 'deployment') {
    return new ClavigerError(
      'no_deployments_available',
      { seconds: resetSeconds, model: requestedModel },
      { retryAfterSeconds },
    );
  }
  return new ClavigerError(
    'rate_limit_exceeded',
    {
      descriptor: subject.descriptor,
      value: subject.id,
      quantity,
      limit,
      remaining,
      reset: resetText(refusal, nowMs),
    },
    { retryAfterSeconds },
  );
}

/** Headers that tell our own 429 from a provider's. */
export function refusalHeaders(refusal: Refusal, nowMs: number): string[] {
  return ['rate_limit_type', refusal.quantity, 'reset_at', resetText(refusal, nowMs)];
}
