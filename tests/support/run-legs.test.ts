import { expect, test } from 'vitest';
import { MissingRequirement } from './requirements.ts';
import { runLegs } from './run-legs.ts';
import { type TestLeg, testLegs } from './test-legs.ts';

const config = ['--config=tests/support/fixtures/vitest.config.ts'];

function leg(...files: string[]): TestLeg {
  return { name: files.join(), files, prepare: () => ({ node: process.execPath, env: {} }) };
}

const impossible: TestLeg = {
  name: 'something rare',
  files: [],
  prepare: () => {
    throw new MissingRequirement('rare is not installed; on Debian: apt-get install rare');
  },
};

async function run(legs: readonly TestLeg[], ci = false): Promise<{ exitCode: number; lines: string[] }> {
  let written = '';
  const exitCode = await runLegs(legs, config, { ci, vitestOutput: 'ignore', write: (text) => (written += text) });
  return { exitCode, lines: written.trim().split('\n') };
}

test('the last line counts the tests of all legs', async () => {
  const { exitCode, lines } = await run([leg('passing.fixture'), leg('passing.fixture', 'failing.fixture')]);
  expect(lines.at(-1)).toBe('3 passed, 1 failed, 0 skipped');
  expect(exitCode).toBe(1);
});

test('what failed is told again at the end: file, name and message', async () => {
  const { lines } = await run([leg('failing.fixture'), leg('passing.fixture')]);
  expect(lines).toContainEqual(expect.stringMatching(/^FAILED with failing\.fixture: .*failing\.fixture\.ts$/));
  expect(lines.join('\n')).toContain('AssertionError');
  const unloadable = await run([leg('unloadable.fixture')]);
  expect(unloadable.lines.join('\n')).toMatch(/unloadable\.fixture\.ts\n {2}could not be loaded/);
});

test('all passed is the only success', async () => {
  expect(await run([leg('passing.fixture')])).toMatchObject({ exitCode: 0 });
  expect(await run([leg('no-such-file')])).toMatchObject({ exitCode: 1 });
});

test('a file that can not be loaded counts as a failure', async () => {
  const { exitCode, lines } = await run([leg('passing.fixture', 'unloadable.fixture')]);
  expect(lines.at(-1)).toBe('1 passed, 1 failed, 0 skipped');
  expect(exitCode).toBe(1);
});

test('what can not run here is said, with what to install; in CI it is a failure', async () => {
  const sentence = 'tests with something rare: rare is not installed; on Debian: apt-get install rare';
  const here = await run([leg('passing.fixture'), impossible]);
  expect(here.lines).toContain(`skipped: ${sentence}`);
  expect(here.exitCode).toBe(0);
  const ci = await run([leg('passing.fixture'), impossible], true);
  expect(ci.lines).toContain(`FAILED: ${sentence}`);
  expect(ci.exitCode).toBe(1);
});

test('the long run covers every supported Node, the oldest PostgreSQL and a transaction pool', () => {
  const names = testLegs(true).map(({ name }) => name);
  for (const part of ['Node 20', 'Node 22', 'Node 24', 'PostgreSQL 14', 'PostgreSQL 18', 'PgBouncer']) {
    expect(names.join('; ')).toContain(part);
  }
  expect(testLegs(false)).toHaveLength(1);
});
