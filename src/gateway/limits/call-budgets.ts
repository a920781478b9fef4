import { chargesModel } from '../../domain/account-from-object.ts';
import type { Deployment } from '../../domain/deployment.ts';
import type { ClavigerError } from '../../domain/error-catalogue.ts';
import type { Nano } from '../../domain/money.ts';
import type { Charge, TokenUsage } from '../../domain/usage.ts';
import type { CallAccount } from '../auth/with-budget-object.ts';
import type { EstimableBody } from '../metering/estimate-cost.ts';
import { budgetError } from './budget-error.ts';
import type { Budgets, BudgetWaiter } from './budgets.ts';
import type { CallEstimates } from './estimate-call.ts';
import type { Lack, LedgerUse, Reservation } from './lease-table.ts';

/** Everything that budgets need to know of a call. */
export interface BudgetedCall {
  readonly token: string;
  readonly keyName: string;
  readonly modelGroup: string;
  readonly body: EstimableBody;
  /** What is reserved for a model without a price. */
  readonly unpricedNano: Nano;
}

/** The parts of the gateway that count money. */
export interface Purse {
  readonly budgets: Budgets;
  readonly estimates: CallEstimates;
}

/** The budgets that a call is paid from: of its key, and of the accounts that it is counted for. */
export function usesOfCall(
  ofKey: readonly LedgerUse[],
  accounts: readonly CallAccount[],
  modelGroup: string,
): readonly LedgerUse[] {
  let uses: LedgerUse[] | null = null;
  for (const use of ofKey) if (chargesModel(use.terms.models, modelGroup)) uses = added(uses, use);
  for (const { charges } of accounts) {
    for (const use of charges) if (chargesModel(use.terms.models, modelGroup)) uses = added(uses, use);
  }
  return uses ?? NONE;
}

/** What one attempt may cost, taken from its budgets; settled exactly once. */
export interface Funds {
  readonly estimateNano: Nano;
  readonly charges: readonly Charge[];
  settle(costNano: Nano, usage: TokenUsage | null): void;
}

/** The budgets of one call. Each attempt has funds of its own. */
export class CallBudgets {
  readonly #purse: Purse;
  readonly #uses: readonly LedgerUse[];
  readonly #call: BudgetedCall;

  constructor(purse: Purse, uses: readonly LedgerUse[], call: BudgetedCall) {
    this.#purse = purse;
    this.#uses = uses;
    this.#call = call;
  }

  /**
   * Exactly one of the two is called, at once or after the control plane was asked. Null: nothing is charged, because the deployment says that it
   * costs nothing.
   */
  fund(deployment: Deployment, go: (funds: Funds | null) => void, refuse: (error: ClavigerError) => void): void {
    const { pricing } = deployment;
    if (pricing !== null && pricing.input === 0 && pricing.output === 0) {
      go(null);
      return;
    }
    const { budgets, estimates } = this.#purse;
    const { token, keyName, modelGroup, body, unpricedNano } = this.#call;
    const mode = this.#uses.some(({ terms }) => terms.mode === 'strict') ? 'strict' : 'expected';
    const call = { pricing, token, model: modelGroup, mode, maxOutputTokens: maxOutputTokensOf(deployment) } as const;
    const estimateNano = estimates.estimate(body, call, unpricedNano);
    const waiter: BudgetWaiter = {
      onReserved: (reservation) => go(this.#fundsOf(reservation)),
      onLacking: (lack, unreachable) =>
        refuse(budgetError(lack, unreachable, { keyName, estimateNano, nowMs: budgets.nowMs() })),
    };
    const result = budgets.reserve(this.#uses, estimateNano, waiter);
    if (result === null) return;
    if ('pots' in result) go(this.#fundsOf(result));
    else waiter.onLacking(result, isUnreachable(result));
  }

  #fundsOf(reservation: Reservation): Funds {
    const { budgets, estimates } = this.#purse;
    const { token, modelGroup, body } = this.#call;
    return {
      estimateNano: reservation.estimateNano,
      charges: reservation.charges,
      settle(costNano, usage) {
        budgets.settle(reservation, costNano);
        if (usage !== null)
          estimates.observe(token, modelGroup, body.bytes.length, usage.promptTokens, usage.completionTokens);
      },
    };
  }
}

const NONE: readonly LedgerUse[] = Object.freeze([]);

function added(uses: LedgerUse[] | null, use: LedgerUse): LedgerUse[] {
  if (uses === null) return [use];
  uses.push(use);
  return uses;
}

/** What the model's entry says that an answer can have at most. */
function maxOutputTokensOf({ modelInfo }: Deployment): number | null {
  const tokens = modelInfo.max_output_tokens ?? modelInfo.max_tokens;
  return typeof tokens === 'number' && tokens >= 0 ? tokens : null;
}

/** Neither spent nor held by others: it is not known. */
function isUnreachable({ reason }: Lack): boolean {
  return reason !== 'spent' && reason !== 'short';
}
