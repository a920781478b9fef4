import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import type { Figure } from './measured-table.ts';

const PAGE = new URL('../../../docs/operations/failure-modes.md', import.meta.url);
const BEGIN = '<!-- fleet chaos: begin (written by npm run chaos -- fleet --write-docs) -->';
const END = '<!-- fleet chaos: end -->';

/** Puts the table into the page, between its two marks. */
export async function writeFleetChaosTable(
  figures: readonly Figure[],
  run: { readonly seed: number; readonly minutes: number },
): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${PAGE.pathname} has no place for the table of the fleet's chaos`);
  const date = new Date().toISOString().slice(0, 10);
  const head = `Measured ${date}, seed ${run.seed}, ${run.minutes} minutes, Node ${process.version}, ${cpus().length} cores for everything.`;
  const rows = figures.map(({ bound, measured, what }) => `| ${what} | ${bound} | ${measured} |`);
  const table = ['', head, '', '| What | To reach | Measured |', '|---|---|---|', ...rows, ''].join('\n');
  await writeFile(PAGE, page.slice(0, begin + BEGIN.length) + table + page.slice(end));
}
