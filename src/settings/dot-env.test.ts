// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the contents of files.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseDotEnv, readDotEnv } from './dot-env.ts';

it.each([
  ['A=1', { A: '1' }],
  ['  export A = 1  ', { A: '1' }],
  ['A=', { A: '' }],
  ['A=one two # comment', { A: 'one two' }],
  ['A=x#y', { A: 'x#y' }],
  ['A="one # two" # comment', { A: 'one # two' }],
  ["A='$X ${X} \\n'", { A: '$X ${X} \\n' }],
  ['A="line\\nnext\\t\\"q\\""', { A: 'line\nnext\t"q"' }],
  ['A="first\nsecond"\nB=2', { A: 'first\nsecond', B: '2' }],
  ['A=1\r\nB=2\r\n', { A: '1', B: '2' }],
  ['# A=1\n\nnonsense\nB=2', { B: '2' }],
  ['U=u\nA=postgres://${U}:${P:-pw}@h/${NOTHING}', { U: 'u', A: 'postgres://u:pw@h/' }],
  ['A=${HOME_OF_TEST}', { A: '/home' }],
  ['A=1\nA=2', { A: '2' }],
])('parses %j', (text, expected) => {
  expect(parseDotEnv(text, { HOME_OF_TEST: '/home' })).toEqual(expected);
});

it('is empty without a file, and with a directory of that name', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dot-env-'));
  try {
    expect(readDotEnv(join(directory, '.env'), {})).toEqual({});
    mkdirSync(join(directory, '.env'));
    expect(readDotEnv(join(directory, '.env'), {})).toEqual({});
    writeFileSync(join(directory, 'file'), 'A=1');
    expect(readDotEnv(join(directory, 'file'), {})).toEqual({ A: '1' });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
