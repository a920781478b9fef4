import { spendLogsRoute } from '../../../contract/routes/spend.ts';
import { SPEND_LOG_ROWS_MAX, type SpendLogsQuery } from '../../../contract/schemas/spend.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { type SpendLogFilter, spendLogs } from '../../../storage/queries/spend-logs.ts';
import { spendPerDay } from '../../../storage/queries/spend-per-day.ts';
import { type Caller, MASTER_KEY_TOKEN, seesEverything } from '../../auth/caller.ts';
import { keyToken } from '../../auth/key-token.ts';
import { endpoint } from '../handler.ts';
import { presentSpendDays } from './present-spend-days.ts';
import { presentSpendLog } from './present-spend-log.ts';

export const spendLogsEndpoint = endpoint(spendLogsRoute, async ({ query, caller }, { staleReads, settings }) => {
  const filter = filterFrom(query, caller, settings.masterKey);
  const hasDates = filter.startDate !== undefined || filter.endDate !== undefined;
  if (hasDates && query.summarize) {
    return { json: presentSpendDays(await staleReads.read((tx) => spendPerDay(tx, filter))) };
  }
  // One more than the bound tells whether there are more.
  const rows = await staleReads.read((tx) => spendLogs(tx, filter, SPEND_LOG_ROWS_MAX + 1));
  const isTruncated = rows.length > SPEND_LOG_ROWS_MAX;
  return {
    json: rows.slice(0, SPEND_LOG_ROWS_MAX).map(presentSpendLog),
    headers: isTruncated ? { 'x-claviger-truncated': 'true' } : {},
  };
});

function filterFrom(query: SpendLogsQuery, caller: Caller, masterKey: string): SpendLogFilter {
  const token = query.api_key === undefined ? undefined : tokenInLogs(query.api_key, masterKey);
  if (!seesEverything(caller)) {
    const isOthers =
      (query.user_id !== undefined && query.user_id !== caller.userId) ||
      (token !== undefined && caller.userId === null && token !== caller.token);
    if (isOthers) throw new ClavigerError('not_your_object', { action: 'view this spend' });
  }
  return {
    token,
    userId: query.user_id,
    requestId: query.request_id,
    startDate: dateFrom('start_date', query.start_date),
    endDate: dateFrom('end_date', query.end_date),
    scope: seesEverything(caller) ? null : { token: caller.token, userId: caller.userId },
  };
}

/** The master key is in the log under a name; every other key under its hash. */
function tokenInLogs(argument: string, masterKey: string): string {
  if (argument === masterKey) return MASTER_KEY_TOKEN;
  return argument.startsWith('sk-') ? keyToken(argument) : argument;
}

function dateFrom(field: string, text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  const [, date] = /^(\d{4}-\d{2}-\d{2})(?:[T ].*)?$/.exec(text) ?? [];
  const moment = date === undefined ? Number.NaN : Date.parse(`${date}T00:00:00Z`);
  // `2026-02-31` parses as a day in March in some engines and not in others; both are refused.
  if (
    date === undefined ||
    Number.isNaN(moment) ||
    new Date(moment).toISOString().slice(0, 10) !== date ||
    date < '0001'
  ) {
    throw new ClavigerError(
      'bad_request',
      { reason: `${field} is not a date of the form YYYY-MM-DD: ${text}` },
      { param: field },
    );
  }
  return date;
}
