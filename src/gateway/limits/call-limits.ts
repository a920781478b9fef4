import type { Deployment } from '../../domain/deployment.ts';
import { type ClavigerError, toClavigerError } from '../../domain/error-catalogue.ts';
import type { TokenUsage } from '../../domain/usage.ts';
import type { EstimableBody } from '../metering/estimate-cost.ts';
import type { LimitedSubject } from './limited-subject.ts';
import type { Limiter } from './limiter.ts';
import { Permit } from './permit.ts';
import { pushRateLimitHeaders } from './rate-limit-headers.ts';
import { type Refusal, refusalError, refusalHeaders } from './refusal.ts';
import { subjectsOfDeployment } from './subjects-of-call.ts';
import { type CountedTokens, countedTokens, estimateTokens, type TokenEstimate } from './token-estimate.ts';

export interface CallFacts {
  /** Asked for, for texts. */
  readonly requestedModel: string;
  readonly modelGroup: string;
  readonly body: EstimableBody;
  readonly counted: CountedTokens;
}

/** The rate limits of one call: what it was admitted for, what its deployment was admitted for, and the end of both, exactly once. */
export class CallLimits {
  readonly #limiter: Limiter;
  readonly #subjects: readonly LimitedSubject[];
  readonly #facts: CallFacts;
  readonly #estimate: TokenEstimate;
  #permit: Permit | null = null;
  #deploymentPermit: Permit | null = null;
  #refusal: Refusal | null = null;
  /** The deployment that can be used again first. */
  #deploymentRefusal: Refusal | null = null;
  #over = false;

  constructor(limiter: Limiter, subjects: readonly LimitedSubject[], facts: CallFacts) {
    this.#limiter = limiter;
    this.#subjects = subjects;
    this.#facts = facts;
    this.#estimate = estimateTokens(facts.body, facts.counted);
  }

  /** Exactly one of the two is called, at once or after a lender was asked; neither when the call is over by then. */
  admit(go: () => void, refuse: (error: ClavigerError) => void): void {
    this.#ask(
      this.#subjects,
      (permit) => {
        this.#permit = permit;
        go();
      },
      (refusal) => {
        this.#refusal = refusal;
        refuse(this.#errorOf(refusal));
      },
      refuse,
    );
  }

  /** Whether a deployment may be used; the permit of the one before is returned. */
  admitDeployment(
    deployment: Deployment,
    go: () => void,
    skip: () => void,
    refuse: (error: ClavigerError) => void,
  ): void {
    this.#endDeployment(0);
    const subjects = subjectsOfDeployment(deployment);
    if (subjects.length === 0) {
      go();
      return;
    }
    this.#ask(
      subjects,
      (permit) => {
        this.#deploymentPermit = permit;
        go();
      },
      (refusal) => {
        const before = this.#deploymentRefusal;
        if (before === null || refusal.resetSeconds < before.resetSeconds) this.#deploymentRefusal = refusal;
        skip();
      },
      refuse,
    );
  }

  /** Why no deployment is left, when limits had a part in it. */
  get deploymentError(): ClavigerError | null {
    return this.#deploymentRefusal === null ? null : this.#errorOf(this.#deploymentRefusal);
  }

  pushHeaders(headers: string[]): void {
    if (this.#permit !== null) pushRateLimitHeaders(headers, this.#limiter.rateLimits, this.#subjects);
    const refusal = this.#refusal ?? (this.#deploymentPermit === null ? this.#deploymentRefusal : null);
    if (refusal !== null) headers.push(...refusalHeaders(refusal, this.#limiter.clock.nowMs()));
  }

  /** The call is over, whatever became of it. */
  finish(usage: TokenUsage): void {
    this.#over = true;
    const used = countedTokens(usage, this.#facts.counted);
    this.#endDeployment(used);
    if (this.#permit !== null) this.#limiter.rateLimits.settle(this.#permit, used);
  }

  #endDeployment(usedTokens: number): void {
    if (this.#deploymentPermit !== null) this.#limiter.rateLimits.settle(this.#deploymentPermit, usedTokens);
    this.#deploymentPermit = null;
  }

  #ask(
    subjects: readonly LimitedSubject[],
    admitted: (permit: Permit) => void,
    refused: (refusal: Refusal) => void,
    failed: (error: ClavigerError) => void,
  ): void {
    const { rateLimits, failing, clock } = this.#limiter;
    const decide = (decision: Permit | Refusal): void => {
      if (decision instanceof Permit) {
        // Its client left while a lender was asked.
        if (this.#over) rateLimits.settle(decision, 0);
        else admitted(decision);
        return;
      }
      if (this.#over) return;
      this.#limiter.refused(decision);
      refused(decision);
    };
    const isFailing = failing.has(this.#facts.modelGroup, clock.monotonicMs());
    const decision = rateLimits.admit(subjects, this.#estimate, isFailing, (late) => {
      try {
        decide(late);
      } catch (thrown) {
        failed(toClavigerError(thrown));
      }
    });
    if (decision !== null) decide(decision);
  }

  #errorOf(refusal: Refusal): ClavigerError {
    return refusalError(refusal, this.#limiter.clock.nowMs(), this.#facts.requestedModel);
  }
}
