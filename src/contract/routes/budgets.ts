import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import {
  budgetInfoBody,
  budgetRow,
  budgetRows,
  budgetSettings,
  budgetSettingsQuery,
  deleteBudgetBody,
  newBudgetBody,
  updateBudgetBody,
} from '../schemas/budget.ts';

const none = z.object({});
const tag = 'budget management';

export const newBudgetRoute = defineRoute({
  method: 'POST',
  path: '/budget/new',
  operationId: 'new_budget',
  tag,
  summary: 'Add a budget object',
  description:
    'Budget and limits for everything that names its `budget_id`. Each of them has the whole budget for itself.',
  access: 'proxy admin',
  query: none,
  body: newBudgetBody,
  response: budgetRow,
  errors: { 400: 'A value is not allowed, or the id is taken.' },
});

export const updateBudgetRoute = defineRoute({
  method: 'POST',
  path: '/budget/update',
  operationId: 'update_budget',
  tag,
  summary: 'Change a budget object',
  description: 'For everything that names it.',
  access: 'proxy admin',
  query: none,
  body: updateBudgetBody,
  response: budgetRow,
  errors: { 400: '`budget_id` is missing, or a value is not allowed.', 404: 'There is no such budget.' },
});

export const budgetInfoRoute = defineRoute({
  method: 'POST',
  path: '/budget/info',
  operationId: 'budget_info',
  tag,
  summary: 'Show budget objects',
  description: 'Those that exist.',
  access: 'proxy admin',
  query: none,
  body: budgetInfoBody,
  response: budgetRows,
  errors: { 400: 'None was named.' },
});

export const budgetSettingsRoute = defineRoute({
  method: 'GET',
  path: '/budget/settings',
  operationId: 'budget_settings',
  tag,
  summary: 'Show the fields of a budget object with what they mean',
  description: 'For forms.',
  access: 'proxy admin',
  query: budgetSettingsQuery,
  body: null,
  response: budgetSettings,
  errors: { 404: 'There is no such budget.' },
});

export const listBudgetsRoute = defineRoute({
  method: 'GET',
  path: '/budget/list',
  operationId: 'list_budgets',
  tag,
  summary: 'List budget objects',
  description: 'Up to 1,000, newest first; `x-claviger-truncated: true` says that there are more.',
  access: 'any key',
  query: none,
  body: null,
  response: budgetRows,
  errors: { 400: 'The caller is not an admin.' },
});

export const deleteBudgetRoute = defineRoute({
  method: 'POST',
  path: '/budget/delete',
  operationId: 'delete_budget',
  tag,
  summary: 'Delete a budget object',
  description: 'While something takes its terms from it, it can not be deleted: that would lift a limit unasked.',
  access: 'any key',
  query: none,
  body: deleteBudgetBody,
  response: budgetRow,
  errors: { 400: 'The caller is not an admin.', 404: 'There is no such budget.', 409: 'It is in use.' },
});
