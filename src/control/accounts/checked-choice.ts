import { ClavigerError, listText } from '../../domain/error-catalogue.ts';

/** The 400 of a sort column, order or status that does not exist. */
export function checkedChoice<const T extends string>(field: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new ClavigerError('invalid_sort', { field, value, allowed: listText(allowed) }, { param: field });
}

/** `desc` or `asc`, in any case. */
export function isDescending(order: string): boolean {
  return checkedChoice('sort_order', order.toLowerCase(), ['asc', 'desc']) === 'desc';
}
