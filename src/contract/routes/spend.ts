import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import { SPEND_LOG_ROWS_MAX, spendDay, spendLogRow, spendLogsQuery } from '../schemas/spend.ts';

export const spendLogsRoute = defineRoute({
  method: 'GET',
  path: '/spend/logs',
  operationId: 'view_spend_logs',
  tag: 'budget & spend tracking',
  summary: 'Show what calls cost',
  description:
    'With `start_date` or `end_date` (YYYY-MM-DD, UTC, both included) and without `summarize=false`: sums per day. Else the rows, newest ' +
    `first, at most ${SPEND_LOG_ROWS_MAX}; the header x-claviger-truncated says that there are more. \`request_id\` is our id, the id on ` +
    'the answer (x-litellm-call-id), or the id that the provider gave.',
  access: 'any key',
  query: spendLogsQuery,
  body: null,
  response: z.union([z.array(spendLogRow), z.array(spendDay)]),
  errors: { 400: 'A date can not be read.', 403: 'A filter names somebody else.' },
});
