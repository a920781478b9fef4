import type { Deployment } from '../../domain/deployment.ts';

/** Shorter header values of a deployment are not taken for credentials. */
const SECRET_CHARS_MIN = 8;

/** What must not be repeated when a provider repeats it. */
export function secretsOf({ apiKey, extraHeaders }: Deployment): readonly string[] {
  const secrets = apiKey === null ? [] : [apiKey];
  // A header that the operator set may be a credential too; short values are words like `true`.
  for (const value of Object.values(extraHeaders)) if (value.length >= SECRET_CHARS_MIN) secrets.push(value);
  return secrets;
}
