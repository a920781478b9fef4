/** Budget objects, and those that organizations, customers, tags and teams have made for them by setting budget fields directly. */
import type { BudgetObject } from '../../domain/budget-object.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { budgets, usersOfBudget } from '../../storage/repositories/budget-objects.ts';
import { applyObjectFields, created, type FieldPlan, type Moment } from './apply-object-fields.ts';
import { createObject, replaceObject, type Writing } from './change-object.ts';

export const BUDGET_PLAN: FieldPlan<BudgetObject> = {
  plain: ['max_budget', 'soft_budget', 'budget_limits', 'max_parallel_requests', 'rpm_limit', 'tpm_limit'],
  lists: ['allowed_models'],
  objects: ['model_max_budget'],
  flags: [],
  inMetadata: [],
  hasPeriod: true,
};

/** Any of them in a request of somebody else means: its budget object. */
export const BUDGET_FIELDS = [
  ...BUDGET_PLAN.plain,
  ...BUDGET_PLAN.lists,
  ...BUDGET_PLAN.objects,
  'budget_duration',
  'budget_reset_at',
] as const;

type Fields = Readonly<Record<string, unknown>>;

export function newBudget(id: string | null | undefined, fields: Fields, moment: Moment): BudgetObject {
  const empty: BudgetObject = {
    budget_id: id || moment.newId(),
    max_budget: null,
    soft_budget: null,
    budget_duration: null,
    budget_reset_at: null,
    budget_limits: null,
    model_max_budget: {},
    max_parallel_requests: null,
    rpm_limit: null,
    tpm_limit: null,
    allowed_models: [],
    metadata: {},
    ...created(moment),
  };
  return applyObjectFields(empty, fields, BUDGET_PLAN, moment);
}

/** The budget fields of a request, without what the request says about the object itself. */
export function budgetFieldsOf(fields: Fields): Fields {
  return Object.fromEntries(
    BUDGET_FIELDS.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]]),
  );
}

/**
 * The budget id that somebody gets from a request: an existing budget that it names, or one made from its budget fields. Where others take
 * their terms from the one it has, it gets a changed copy: a request about one of them is not about all. Undefined: the request says nothing.
 */
export async function budgetIdFrom(
  write: Writing,
  fields: Fields,
  current: string | null,
  moment: Moment,
): Promise<string | null | undefined> {
  const given = budgetFieldsOf(fields);
  const hasFields =
    Object.values(given).some((value) => value !== null) || (current !== null && Object.keys(given).length > 0);
  const named = fields.budget_id as string | null | undefined;
  if (typeof named === 'string' && named !== '') {
    if (hasFields) {
      throw new ClavigerError(
        'bad_request',
        {
          reason: `Pass either budget_id or budget fields such as max_budget, not both. Got budget_id and ${Object.keys(given).join(', ')}.`,
        },
        { param: 'budget_id' },
      );
    }
    await budgetMustExist(write, named);
    return named;
  }
  // Null takes the budget away; with fields beside it, they make a new one.
  const kept = named === null || named === '' ? null : current;
  if (!hasFields) return named === undefined ? undefined : null;
  const [stored] = kept === null ? [] : await budgets.lock(write.tx, [kept]);
  if (stored === undefined)
    return (await createObject(write, 'budget', newBudget(null, given, moment))).object.budget_id;
  const next = applyObjectFields(stored.object, given, BUDGET_PLAN, moment);
  const isShared = (await usersOfBudget(write.tx, stored.object.budget_id, 2)).length > 1;
  if (!isShared) return (await replaceObject(write, 'budget', stored, next)).object.budget_id;
  const copy = { ...next, ...created(moment), budget_id: moment.newId() };
  return (await createObject(write, 'budget', copy)).object.budget_id;
}

/** Locked, so that it can not be deleted before the one that names it is committed. */
export async function budgetMustExist({ tx }: Pick<Writing, 'tx'>, id: string): Promise<void> {
  const found = await budgets.lock(tx, [id], 'share');
  if (found.length === 0) {
    throw new ClavigerError(
      'bad_request',
      { reason: `Budget with id ${id} does not exist. Create it with /budget/new first.` },
      { param: 'budget_id' },
    );
  }
}

export function budgetNotFound(id: string): ClavigerError {
  return new ClavigerError('object_not_found', { what: `Budget with budget_id=${id}` }, { param: 'budget_id' });
}

/** LiteLLM answers 400 here, not 401 or 403. */
export function onlyAdmins(action: string): ClavigerError {
  return new ClavigerError('bad_request', { reason: `Only a proxy admin can ${action}.` });
}
