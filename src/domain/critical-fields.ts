import type { Principal } from './virtual-key.ts';

/**
 * Fields of a principal that restrict what a key may do and that version 0.1.0 did not have. One that does not understand such a field must
 * refuse the key: leaving a rule out would allow what it forbids. Every new restriction on keys gets its name here and in `criticalFieldsOf`.
 */
export const CRITICAL_FIELDS: ReadonlySet<string> = new Set(['allowedRegions', 'fence']);

/** The names that travel with a principal as `crit`; empty for one that any version understands. */
export function criticalFieldsOf({ allowedRegions, fence }: Pick<Principal, 'allowedRegions' | 'fence'>): string[] {
  const names: string[] = [];
  if (allowedRegions.length > 0) names.push('allowedRegions');
  if (fence !== 'normal') names.push('fence');
  return names;
}

/** The first rule of a key that this version does not know, or null. */
export function unknownCriticalField({ crit }: Pick<Principal, 'crit'>): string | null {
  if (crit === undefined) return null;
  for (const name of crit) if (!CRITICAL_FIELDS.has(name)) return name;
  return null;
}
