import { type ClavigerError, errorBody } from '../../domain/error-catalogue.ts';

/** What a client is told about a failure below HTTP; addresses and system texts stay in the log. */
export const FAILURE_TEXT = {
  connect: 'The provider can not be reached.',
  timeout: 'The provider did not answer in time.',
  reset: 'The provider closed the connection before the answer was complete.',
  protocol: 'The provider sent something that is not a valid HTTP answer.',
  tls: 'No trusted TLS connection to the provider could be made.',
} as const;

/** The last event of a stream whose status 200 is already out. */
export function errorFrame(error: ClavigerError): string {
  return `data: ${JSON.stringify(errorBody(error))}\n\n`;
}

/** The status that an `error` object inside a 200 stands for; 500 when it names none. */
export function statusInError(error: unknown): number {
  if (typeof error !== 'object' || error === null) return 500;
  const { code, status } = error as { code?: unknown; status?: unknown };
  const number = Number(code ?? status);
  return number >= 400 && number <= 599 ? number : 500;
}
