import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { MissingRequirement } from './requirements.ts';
import type { TestLeg } from './test-legs.ts';

const root = resolve(import.meta.dirname, '../..');

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface RunOptions {
  readonly write: (text: string) => void;
  /** What can not run on this machine is a failure instead of a skip. */
  readonly ci: boolean;
  readonly vitestOutput: 'inherit' | 'ignore';
}

/**
 * Runs the legs one after the other and ends with one line that counts the tests of all of them.
 * The exit code is 0 only when tests ran and none failed.
 */
export async function runLegs(
  legs: readonly TestLeg[],
  vitestArguments: readonly string[],
  { write, ci, vitestOutput }: RunOptions,
): Promise<number> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const reportDir = mkdtempSync(join(tmpdir(), 'claviger-test-report-'));
  let broken = false;
  try {
    for (const [index, leg] of legs.entries()) {
      if (legs.length > 1) write(`\n== ${leg.name}\n`);
      const reportPath = join(reportDir, `${index}.json`);
      try {
        const exitCode = await runVitest(leg, reportPath, vitestArguments, vitestOutput);
        if (exitCode !== 0) broken = true;
        if (!add(total, reportPath)) broken = true;
      } catch (error) {
        if (!(error instanceof MissingRequirement)) throw error;
        if (ci) broken = true;
        write(`${ci ? 'FAILED' : 'skipped'}: tests with ${leg.name}: ${error.message}\n`);
      }
    }
  } finally {
    rmSync(reportDir, { recursive: true, force: true });
  }
  if (total.passed + total.failed === 0) broken = true;
  if (broken && total.failed === 0) write('\nThe run failed outside of a test; the reason is above.\n');
  write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
  return broken || total.failed > 0 ? 1 : 0;
}

async function runVitest(
  leg: TestLeg,
  reportPath: string,
  vitestArguments: readonly string[],
  vitestOutput: RunOptions['vitestOutput'],
): Promise<number> {
  const { node, env } = leg.prepare();
  // Files that the caller named go before those of the leg.
  const named = vitestArguments.some((argument) => !argument.startsWith('-'));
  const files = named ? [] : leg.files;
  const child = spawn(
    node,
    [
      join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${reportPath}`,
      ...(leg.files.length > 0 ? ['--passWithNoTests'] : []),
      ...files,
      ...vitestArguments,
    ],
    {
      cwd: root,
      // Programs that tests start as `node` are then the same one.
      env: { ...process.env, ...env, PATH: `${dirname(node)}${delimiter}${process.env['PATH'] ?? ''}` },
      stdio: ['ignore', vitestOutput, vitestOutput],
    },
  );
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  process.on('SIGINT', forward).on('SIGTERM', forward);
  const exitCode = await new Promise<number>((resolveExit, reject) => {
    child.once('error', reject).once('exit', (code) => resolveExit(code ?? 1));
  });
  process.off('SIGINT', forward).off('SIGTERM', forward);
  return exitCode;
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

/** False when there is no report, which means that Vitest itself did not get far. */
function add(total: Counts, reportPath: string): boolean {
  let report: Report;
  try {
    report = JSON.parse(readFileSync(reportPath, 'utf8'));
  } catch {
    return false;
  }
  total.passed += report.numPassedTests;
  total.skipped += report.numPendingTests + report.numTodoTests;
  // A file that can not be loaded has no tests to count, and must not look like success.
  const unloadable = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  total.failed += report.numFailedTests + unloadable.length;
  return true;
}
