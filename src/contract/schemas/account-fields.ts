/** Fields that users, teams, budgets and others have in common, in requests and in answers. */
import { z } from 'zod';
import { intPerName, limitType } from './key-request.ts';
import { dict, float, id, int, money, text, texts } from './lax.ts';

/** Budget and limits, as a request sets them. */
export const moneyFields = {
  max_budget: money.optional(),
  soft_budget: money.optional(),
  budget_duration: text.nullish(),
  budget_limits: z.array(z.looseObject({ budget_duration: text, max_budget: float })).nullish(),
  model_max_budget: dict.nullish(),
  max_parallel_requests: int.nullish(),
  rpm_limit: int.nullish(),
  tpm_limit: int.nullish(),
};

/** Asked for at the top level and kept inside `metadata`, where answers show them. */
export const limitMetadataFields = {
  model_rpm_limit: intPerName.nullish(),
  model_tpm_limit: intPerName.nullish(),
  rpm_limit_type: limitType.nullish(),
  tpm_limit_type: limitType.nullish(),
};

/** Ids in one request; more are a 422. */
export const IDS_PER_REQUEST_MAX = 1_000;
export const ids = z.array(id).max(IDS_PER_REQUEST_MAX);

/** ISO 8601, as `budget_reset_at` is shown. */
export const moment = z.iso.datetime({ offset: true, message: 'Input should be a valid datetime' });

export const page = int.pipe(z.number().min(1).max(1_000_000)).default(1);
export const pageSize = (otherwise: number) => int.pipe(z.number().min(1).max(100)).default(otherwise);

export const time = z.iso.datetime();
export const list = texts;
export const object = z.record(z.string(), z.unknown());

/** Budget and limits, as answers show them. */
export const shownMoney = {
  max_budget: z.number().nullable().describe('Dollars.'),
  soft_budget: z.number().nullable(),
  budget_duration: z.string().nullable(),
  budget_reset_at: time.nullable(),
  budget_limits: z.unknown(),
  model_max_budget: object,
  max_parallel_requests: z.int().nullable(),
  rpm_limit: z.int().nullable(),
  tpm_limit: z.int().nullable(),
};
