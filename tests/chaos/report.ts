import { appendFileSync } from 'node:fs';

/** A measured line for `docs/operations/failure-modes.md`; written only when `npm run chaos` asks for it. */
export function reportMeasured(what: string, measured: string): void {
  const path = process.env.CLAVIGER_CHAOS_REPORT;
  if (path !== undefined) appendFileSync(path, `${JSON.stringify({ what, measured })}\n`);
}
