/** Reading the messages about budgets; see docs/specs/budget-leases.md. Writing them is `JSON.stringify`. */
import { type Check, type Fields, isCount, isObject, isText, parseChecked } from './codec.ts';
import { LEASE_ITEMS_MAX, type LeaseAsk, type LeaseReply } from './protocol.ts';

/** What is wrong in a single item refuses the whole ask: it would be sent again unchanged for ever if half of it had an effect. */
export function parseLeaseAsk(body: string): LeaseAsk {
  return parseChecked(body, ASK_FIELDS, 'an ask for budgets');
}

export function parseLeaseReply(body: string): LeaseReply {
  const reply = parseChecked<LeaseReply>(body, EITHER_FIELDS, 'a reply about budgets');
  return parseChecked(body, reply.ok ? REPLY_FIELDS : DECLARE_FIELDS, 'a reply about budgets');
}

/** Amounts are never negative, and below the safe integers where a process adds them up. */
const isAmount: Check = (value) =>
  typeof value === 'string' && /^\d{1,16}$/.test(value) && Number.isSafeInteger(Number(value));
/** Sums of a ledger. */
const isSum: Check = (value) => typeof value === 'string' && /^-?\d{1,30}$/.test(value);
const isTextOrNull: Check = (value) => value === null || isText(value);
const isFlag: Check = (value) => typeof value === 'boolean';
/** -1 stands for a charge without a lease. */
const isPeriod: Check = (value) => Number.isSafeInteger(value) && (value as number) >= -1;
const isSpan: Check = (value) => typeof value === 'number' && Number.isFinite(value);

function listOf(fields: Fields, most = Number.POSITIVE_INFINITY): Check {
  return (value) =>
    Array.isArray(value) &&
    value.length <= most &&
    value.every((item) => isObject(item) && Object.entries(fields).every(([name, check]) => check(item[name])));
}

const POT_FIELDS: Fields = { ledger: isText, periodStartMs: isPeriod };
const AMOUNT_FIELDS: Fields = { ...POT_FIELDS, amountNano: isAmount };

const isWishes = listOf(
  {
    ledger: isText,
    duration: isTextOrNull,
    anchorMs: isSpan,
    template: isTextOrNull,
    terms: (value) => value === undefined || (isObject(value) && isSum(value.maxNano)),
    next: isFlag,
    needNano: isAmount,
    wantNano: isAmount,
    ratePerMinuteNano: isAmount,
    offlineNano: isAmount,
  },
  LEASE_ITEMS_MAX,
);

const ASK_FIELDS: Fields = {
  installation: isText,
  gatewayId: isText,
  session: isText,
  incarnation: isText,
  ask: isCount,
  wishes: isWishes,
  returns: listOf(AMOUNT_FIELDS, LEASE_ITEMS_MAX),
  starters: isFlag,
  declares: (value) => value === undefined || listOf(AMOUNT_FIELDS)(value),
};

const REFUSALS: readonly unknown[] = ['spent', 'short', 'unknown', 'learning', 'terms'];

const EITHER_FIELDS: Fields = { ok: isFlag };
const DECLARE_FIELDS: Fields = { cursor: isCount, declare: isFlag };
const REPLY_FIELDS: Fields = {
  ask: isCount,
  grants: listOf({
    ledger: isText,
    periodStartMs: isPeriod,
    endsInMs: (value) => value === null || isSpan(value),
    startsInMs: isSpan,
    grantedNano: isAmount,
    refusal: (value) => value === null || REFUSALS.includes(value),
    maxNano: isSum,
    settledNano: isSum,
  }),
  recalled: listOf(POT_FIELDS),
  closed: listOf(POT_FIELDS),
};
