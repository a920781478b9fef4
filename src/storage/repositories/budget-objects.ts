import { sql } from 'kysely';
import type { BudgetObject } from '../../domain/budget-object.ts';
import type { Tx } from '../db.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredBudget = StoredObject<BudgetObject>;

/** Unique violation: `budget_budget_id_key`. A budget object spends nothing: those that take its terms do. */
export const budgets = objectTable<BudgetObject>({
  table: 'budget',
  spendKind: null,
  idColumn: 'budget_id',
  idOf: (budget) => budget.budget_id,
  columns: {
    budget_id: 'text',
    max_budget: 'number',
    soft_budget: 'number',
    budget_duration: 'text',
    budget_reset_at: 'time',
    budget_limits: 'json',
    model_max_budget: 'json',
    max_parallel_requests: 'int8',
    rpm_limit: 'int8',
    tpm_limit: 'int8',
    allowed_models: 'texts',
    metadata: 'json',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});

/** Who takes its terms from the budget, each as kind and id; at most `limit`. */
export async function usersOfBudget(tx: Tx, budgetId: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ who: string }>`
    select 'organization ' || organization_id as who from claviger.organization where budget_id = ${budgetId}
    union all select 'customer ' || user_id from claviger.customer where budget_id = ${budgetId}
    union all select 'tag ' || name from claviger.tag where budget_id = ${budgetId}
    union all select 'team member ' || member_id from claviger.team_member where budget_id = ${budgetId}
    union all select 'organization member ' || member_id from claviger.organization_member where budget_id = ${budgetId}
    union all select 'team ' || team_id from claviger.team where metadata ->> 'team_member_budget_id' = ${budgetId}
    union all select 'key ' || key_name from claviger.virtual_key where budget_id = ${budgetId}
    limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.who);
}
