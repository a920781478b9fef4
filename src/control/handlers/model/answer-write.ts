import type { ModelRecord } from '../../../domain/stored-model.ts';
import type { Stretch } from '../../fleet/change-tail.ts';
import type { HandlerResult } from '../handler.ts';
import { presentModelRow } from './present-model.ts';

export type ModelOutcome = 'created' | 'updated' | 'unchanged' | 'deleted';

/** Says what a write did, or would have done. */
export const OUTCOME_HEADER = 'x-claviger-outcome';

export function answerWrite(model: ModelRecord, outcome: ModelOutcome, stretch: Stretch | null): HandlerResult {
  return { json: presentModelRow(model), rev: stretch?.to, headers: { [OUTCOME_HEADER]: outcome } };
}
