import { ERROR_CATALOGUE, type ErrorEntry } from './error-catalogue.ts';

/** The table of docs/reference/errors.md. A test compares the two, so a new error can not be left out of the docs. */
export function errorTable(): string {
  const lines = [
    '| Code (internal) | Status | `type` | `param` | Fault | Log | Retryable | `retry-after` | Message |',
    '|---|---|---|---|---|---|---|---|---|',
  ];
  for (const [code, entry] of Object.entries<ErrorEntry>(ERROR_CATALOGUE)) {
    const cells = [
      `\`${code}\``,
      String(entry.status),
      `\`${entry.type}\``,
      entry.param === null ? 'null' : `\`${entry.param}\``,
      entry.fault,
      entry.log,
      entry.retryable ? 'yes' : 'no',
      entry.retryAfterSeconds === undefined ? '' : `${entry.retryAfterSeconds} s`,
      `${entry.message}${entry.detail === true ? ' (also as `detail`)' : ''}`,
    ];
    lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  }
  return lines.join('\n');
}
