export type CheckStatus = 'ok' | 'warn' | 'fail';

/** One line of the doctor. */
export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found. */
  readonly message: string;
  /** What to do about it; null when there is nothing. */
  readonly todo: string | null;
}

export function ok(name: string, message: string): Check {
  return { name, status: 'ok', message, todo: null };
}

export function warn(name: string, message: string, todo: string | null = null): Check {
  return { name, status: 'warn', message, todo };
}

export function fail(name: string, message: string, todo: string | null = null): Check {
  return { name, status: 'fail', message, todo };
}

/** Lines for people; the thing to do stands below what it is about. */
export function checksText(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ message, name, status, todo }) => [
    `${status.padEnd(4)}  ${name.padEnd(width)}  ${message}`,
    ...(todo === null ? [] : [`${' '.repeat(width + 8)}${todo}`]),
  ]);
  const count = (wanted: CheckStatus): number => checks.filter(({ status }) => status === wanted).length;
  return `${lines.join('\n')}\n\n${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed\n`;
}
