import type { IncomingHttpHeaders } from 'node:http';
import { objectOf } from '../../domain/json-fields.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';

/** A longer id is cut: it stands in rows, counters and messages. */
export const CUSTOMER_ID_CHARS_MAX = 256;

/**
 * The customer (end user) whom a call is made for: the first place that names one, or null. `headerNames` are lower case
 * (`Configuration.general.customerHeaders`).
 */
export function customerIdOf(
  headers: IncomingHttpHeaders,
  headerNames: readonly string[],
  body: Readonly<Record<string, JsonValue | undefined>>,
): string | null {
  for (const name of headerNames) {
    const value = headers[name];
    const id = customerId(Array.isArray(value) ? value[0] : value);
    if (id !== null) return id;
  }
  return (
    customerId(body['user']) ??
    customerId(objectOf(body['litellm_metadata'])?.user) ??
    customerId(objectOf(body['metadata'])?.user_id) ??
    customerId(body['safety_identifier'])
  );
}

/** A number is an id too: the same customer must not have two names. */
function customerId(value: JsonValue | undefined): string | null {
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value.slice(0, CUSTOMER_ID_CHARS_MAX) : null;
}
