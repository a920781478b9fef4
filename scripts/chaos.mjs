import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, root } from './lib/prepare.mjs';

// `npm run chaos [-- --short]`: kills every process a hundred times under load, takes the database away, and writes what was
// measured into the document. Nothing is written when a test fails.
// `npm run chaos -- fleet [--seed N] [--minutes M] [--write-docs]`: a whole fleet, and faults from a schedule of that seed.
const DOCUMENT = join(root, 'docs', 'operations', 'failure-modes.md');
const BEGIN = '<!-- measured: begin -->';
const END = '<!-- measured: end -->';

ensureInstalled();
ensureBuilt();
if (process.argv[2] === 'fleet') runFleet(process.argv.slice(3));
else runTests();

function runFleet(given) {
  const main = join(root, 'tests', 'chaos', 'fleet', 'main.ts');
  const run = spawnSync(process.execPath, ['--import', 'tsx', main, ...given], { cwd: root, stdio: 'inherit' });
  process.exitCode = run.status ?? 1;
}

function runTests() {
  const short = process.argv.includes('--short');
  const directory = mkdtempSync(join(tmpdir(), 'claviger-chaos-report-'));
  const report = join(directory, 'report.jsonl');
  try {
    const run = spawnSync(
      process.execPath,
      [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--maxWorkers=1', 'tests/chaos'],
      {
        cwd: root,
        stdio: 'inherit',
        env: {
          ...process.env,
          CLAVIGER_CHAOS_REPORT: report,
          CLAVIGER_TEST_LENGTH: short ? 'short' : 'long',
        },
      },
    );
    process.exitCode = run.status ?? 1;
    if (run.status === 0) writeMeasured(readFileSync(report, 'utf8'), short);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function writeMeasured(lines, short) {
  const rows = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map(({ what, measured }) => `| ${what} | ${measured} |`);
  const document = readFileSync(DOCUMENT, 'utf8');
  const [from, to] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} has no place for the table between ${BEGIN} and ${END}`);
  const run = `Node ${process.versions.node}, ${process.platform}, ${short ? 'short' : 'long'} run.`;
  const table = ['| What happens | Measured |', '|---|---|', ...rows].join('\n');
  writeFileSync(DOCUMENT, `${document.slice(0, from)}${BEGIN}\n${run}\n\n${table}\n${document.slice(to)}`);
}
