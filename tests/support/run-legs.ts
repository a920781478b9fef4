import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative, resolve } from 'node:path';
import { MissingRequirement } from './requirements.ts';
import type { TestLeg } from './test-legs.ts';

const root = resolve(import.meta.dirname, '../..');

/** Failures that are told again at the end of a run. The others are counted there, and told where they happened. */
const FAILURES_SHOWN = 20;
/** Characters of a failure's message at the end of a run. The rest is told where it happened. */
const FAILURE_MESSAGE_LENGTH = 1200;

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
  const failures: string[] = [];
  const reportDir = mkdtempSync(join(tmpdir(), 'claviger-test-report-'));
  let broken = false;
  try {
    for (const [index, leg] of legs.entries()) {
      if (legs.length > 1) write(`\n== ${leg.name}\n`);
      const reportPath = join(reportDir, `${index}.json`);
      try {
        const exitCode = await runVitest(leg, reportPath, vitestArguments, vitestOutput);
        if (exitCode !== 0) broken = true;
        const report = readReport(reportPath);
        if (report === undefined) {
          broken = true;
        } else {
          add(total, report);
          failures.push(...failuresOf(report, leg));
        }
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
  // Once more at the end: of a long run often only the end is kept.
  for (const failure of failures.slice(0, FAILURES_SHOWN)) write(`\n${failure}\n`);
  if (failures.length > FAILURES_SHOWN) write(`\n… and ${failures.length - FAILURES_SHOWN} more\n`);
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

interface Assertion {
  readonly status: string;
  readonly fullName: string;
  readonly failureMessages?: readonly string[];
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly Assertion[];
  }[];
}

/** Nothing when there is no report, which means that Vitest itself did not get far. */
function readReport(path: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** A file that can not be loaded has no tests to count, and must not look like success. */
function unloadableFiles(report: Report): Report['testResults'] {
  return report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
}

function add(total: Counts, report: Report): void {
  total.passed += report.numPassedTests;
  total.skipped += report.numPendingTests + report.numTodoTests;
  total.failed += report.numFailedTests + unloadableFiles(report).length;
}

/** Each failure of a leg as a few lines: where, which, and how its message begins. */
function failuresOf(report: Report, leg: TestLeg): string[] {
  const tests = report.testResults.flatMap((file) =>
    file.assertionResults
      .filter((assertion) => assertion.status === 'failed')
      .map((assertion) => ({
        file: file.name,
        test: assertion.fullName,
        message: assertion.failureMessages?.join('\n'),
      })),
  );
  const files = unloadableFiles(report).map((file) => ({
    file: file.name,
    test: 'could not be loaded',
    message: file.message,
  }));
  return [...files, ...tests].map(
    ({ file, test, message }) =>
      `FAILED with ${leg.name}: ${relative(root, file)}\n  ${test}\n  ${(message ?? '').slice(0, FAILURE_MESSAGE_LENGTH).replaceAll('\n', '\n  ')}`,
  );
}
