import type { BookRow } from '../check-books.ts';
import type { ChangeDriver } from './change-driver.ts';
import type { RestartTimes } from './inject-fault.ts';
import type { Promised, Verdicts } from './verdicts.ts';

export interface Figure {
  readonly what: string;
  readonly bound: string;
  readonly measured: string;
}

export interface Measurements {
  readonly verdicts: Verdicts;
  readonly driver: ChangeDriver;
  readonly restarts: RestartTimes;
  readonly faults: number;
  readonly currentMs: readonly number[];
  readonly managementMs: readonly number[];
  readonly keys: { readonly made: number; readonly revoked: number };
  readonly books: {
    readonly completed: number;
    readonly billed: number;
    readonly rows: readonly BookRow[];
    readonly afterMs: number;
  };
  readonly fenceMs: number;
}

/** What was promised, how often it was looked at, and the worst that was seen. */
export function tableOf(measured: Measurements): Figure[] {
  const { books, currentMs, driver, faults, fenceMs, keys, managementMs, restarts, verdicts } = measured;
  const [calm, cut] = [verdicts.lateness(true), verdicts.lateness(false)];
  const reasons = [...verdicts.unavailable].map(([name, count]) => `${count} \`${name}\``).join(', ') || 'none';
  const answers = [...driver.answers].map(([status, count]) => `${count} × ${status}`).join(', ');
  const wrong = (promised: Promised, what = 'refused wrongly'): string => `${verdicts.count(promised)} ${what}`;
  const sets = verdicts.comparedSets;
  return [
    {
      what: 'Calls with a valid key',
      bound: 'never 401; 503 only while cut off, or for a key of the last 2 s',
      measured: `${verdicts.validCalls} calls: ${verdicts.answered} answered, 503: ${reasons}; ${verdicts.broken} more cut with their process; ${wrong('refused')}, ${wrong('connection', 'cut without a reason')}`,
    },
    {
      what: 'A blocked or deleted key on a worker that nothing disturbs',
      bound: 'p99 < 1 s after the answer',
      measured: `${keys.revoked} keys revoked of ${keys.made}, ${calm.length} looks: ${shares(calm)}`,
    },
    {
      what: 'The same on a worker that is cut off, stopped or started again',
      bound: `fence, here ${fenceMs / 1_000} s`,
      measured: `${cut.length} looks: longest ${Math.round(cut.at(-1) ?? 0)} ms; ${wrong('revoked', 'beyond it')}`,
    },
    {
      what: 'Position of a gateway process',
      bound: 'never goes back',
      measured: `${verdicts.positions} answers, ${wrong('position', 'back')}`,
    },
    {
      what: 'Keys held at the same position',
      bound: 'equal set hash',
      measured: `${sets.gateways} gateway processes compared at ${sets.positions} positions, ${wrong('keys', 'differ')}`,
    },
    {
      what: 'Configuration current on all workers after healing',
      bound: '≤ 2 s',
      measured: `${currentMs.length} times: longest ${longest(currentMs)}`,
    },
    {
      what: 'A key can be made after healing',
      bound: 'by itself',
      measured: `${managementMs.length} times: longest ${longest(managementMs)}; management calls: ${answers}`,
    },
    {
      what: 'Books against the ledger of the provider',
      bound: 'each answered call once, no holes, backlog empty ≤ 60 s',
      measured:
        `${books.billed} calls billed, ${books.completed} answered, ${books.rows.length} rows, ` +
        `${books.rows.filter(({ estimated }) => estimated).length} estimated; ${wrong('books', 'lost, twice or wrong')}; right ${books.afterMs} ms after the last call`,
    },
    {
      what: 'Processes that were killed serve again',
      bound: 'by themselves',
      measured: (['gateway', 'control', 'supervisor'] as const)
        .filter((role) => restarts[role].length > 0)
        .map((role) => `${role} ${restarts[role].length} times, longest ${longest(restarts[role])}`)
        .join('; '),
    },
    {
      what: 'Processes at the end',
      bound: 'no unexplained exit, none left over',
      measured: `${faults} faults, ${wrong('process', 'unexplained or left')}`,
    },
  ];
}

function longest(values: readonly number[]): string {
  return values.length === 0 ? 'never looked at' : `${Math.round(Math.max(...values))} ms`;
}

function shares(sorted: readonly number[]): string {
  if (sorted.length === 0) return 'none';
  const share = (part: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!);
  return `p50 ${share(0.5)} ms, p99 ${share(0.99)} ms, longest ${share(1)} ms`;
}
