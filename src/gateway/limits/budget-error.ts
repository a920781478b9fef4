import { parseLedgerId } from '../../domain/budget-terms.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { dollarsFromNano, type Nano } from '../../domain/money.ts';
import type { Lack } from './lease-table.ts';

/** A client is not sent away for longer than this: a budget may be raised at any time. */
const RETRY_AFTER_MAX_S = 3_600;

/** The answer to a call that a budget does not pay for: 429 when it is spent, 503 when that can not be known. */
export function budgetError(
  lack: Lack,
  unreachable: boolean,
  { keyName, estimateNano, nowMs }: RefusedCall,
): ClavigerError {
  const { use, reason, maxNano, settledNano, resetsAtMs } = lack;
  const entity = entityOf(use.ledger, keyName);
  if (unreachable) return new ClavigerError('budget_unreachable', { entity });
  const untilResetS = resetsAtMs === null ? RETRY_AFTER_MAX_S : Math.ceil((resetsAtMs - nowMs) / 1_000);
  // Nobody else holds it: it is never enough for this call.
  const tooSmall = reason === 'short' && BigInt(estimateNano) > maxNano - settledNano;
  const retryAfterSeconds = reason === 'short' && !tooSmall ? 1 : Math.max(1, Math.min(RETRY_AFTER_MAX_S, untilResetS));
  const maximum = maxNano === 0n ? use.terms.maxBudget : dollarsFromNano(maxNano);
  const rest = tooSmall ? tooSmallFor(estimateNano) : reason === 'short' ? REST_IS_HELD : '';
  const what = { entity, cost: dollarsFromNano(settledNano), maximum, rest };
  return new ClavigerError('budget_exceeded', what, { retryAfterSeconds });
}

export interface RefusedCall {
  readonly keyName: string;
  readonly estimateNano: Nano;
  readonly nowMs: number;
}

function tooSmallFor(estimateNano: Nano): string {
  return `. This call may cost ${dollarsFromNano(estimateNano)}, which is more than what is left: it needs a smaller max_tokens, a price for its model if that has none, or a larger budget.`;
}

const REST_IS_HELD = '. What is left is reserved for other calls; a part of it may come back in a moment.';

const ENTITIES: Readonly<Record<string, string>> = {
  key: 'Key',
  user: 'User',
  team: 'Team',
  team_member: 'TeamMember',
  organization: 'Organization',
  customer: 'EndUser',
  tag: 'Tag',
};

/** `Team=red`, or `Key=sk-...1234 for gpt-4o` for one of several budgets. */
function entityOf(ledger: string, keyName: string): string {
  const { kind, id, slot } = parseLedgerId(ledger)!;
  const who = kind === 'key' ? `Key=${keyName}` : `${ENTITIES[kind] ?? kind}=${id}`;
  if (slot === '') return who;
  return `${who} for ${slot.replace(/^(model|window):/, '')}`;
}
