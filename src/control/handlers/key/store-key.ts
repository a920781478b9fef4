import { type ResetRules, resetRules } from '../../../domain/budget-period.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { nanoFromDollars } from '../../../domain/money.ts';
import { violatedUniqueness } from '../../../storage/db.ts';
import type { ControlContext } from '../../context.ts';

/** Runs a statement that writes a key, with LiteLLM's texts for what is taken. */
export async function refusingTaken<T>(alias: string | null, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const constraint = violatedUniqueness(error);
    if (constraint === 'virtual_key_alias') throw new ClavigerError('key_alias_exists', { alias: alias ?? '' });
    if (constraint !== null) throw new ClavigerError('key_exists');
    throw error;
  }
}

/** Spend that a request sets, in nano-dollars. */
export function spendFrom(dollars: number): bigint {
  if (dollars < 0) throw new ClavigerError('negative_budget', { field: 'spend', value: dollars }, { param: 'spend' });
  try {
    return BigInt(nanoFromDollars(dollars));
  } catch {
    throw new ClavigerError('bad_request', { reason: `spend is too large: ${dollars}` }, { param: 'spend' });
  }
}

/** When budgets are reset, by the configuration of this instance. */
export function resetRulesOf(context: ControlContext): ResetRules {
  return resetRules(context.config().litellmSettings);
}
