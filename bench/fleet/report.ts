import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import type { Figure } from './main.ts';

const PAGE = new URL('../../docs/operations/failure-modes.md', import.meta.url);
const BEGIN = '<!-- fleet: begin (written by npm run bench -- fleet --write-docs) -->';
const END = '<!-- fleet: end -->';

/** Puts the table into the page, between its two marks. */
export async function writeFleetTable(figures: readonly Figure[]): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${PAGE.pathname} has no place for the table of the fleet`);
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const head = `Measured ${new Date().toISOString().slice(0, 10)}, commit ${commit}, Node ${process.version}, ${cpus().length} cores for everything; four real workers, the rest simulated.`;
  const rows = figures.map(({ what, target, measured }) => `| ${what} | ${target} | ${measured} |`);
  const table = ['', head, '', '| What | To reach | Measured |', '|---|---|---|', ...rows, ''].join('\n');
  await writeFile(PAGE, page.slice(0, begin + BEGIN.length) + table + page.slice(end));
}
