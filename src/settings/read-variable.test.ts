import { describe, expect, it } from 'vitest';
import { parseInteger, readFlag, splitList } from './read-variable.ts';

describe('readFlag', () => {
  it.each([
    ['true', true],
    ['True', true],
    [' TRUE ', true],
    ['false', false],
    ['', false],
    [undefined, false],
  ])('takes %j as LiteLLM does', (text, value) => {
    expect(readFlag({ X: text }, 'X')).toEqual({ value, warning: null });
  });

  it.each([
    ['1', true],
    ['yes', true],
    ['ON', true],
    ['0', false],
    ['no', false],
    ['off', false],
  ])('takes %j as what it says, and warns', (text, value) => {
    const reading = readFlag({ X: text }, 'X');
    expect(reading.value).toBe(value);
    expect(reading.warning).toContain(`LiteLLM would not do so. Write X=${value}.`);
  });

  it('cuts a comment and warns', () => {
    expect(readFlag({ X: 'true # only here' }, 'X')).toEqual({
      value: true,
      warning: 'X: the comment behind its value is ignored. Write X=true.',
    });
  });

  it.each([
    ['"true"', true],
    ["'False'", false],
    ['"true" # only here', true],
  ])('cuts the quotes of %j and warns', (text, value) => {
    const reading = readFlag({ X: text }, 'X');
    expect(reading.value).toBe(value);
    expect(reading.warning).toContain('the quotes around it are ignored');
  });

  it('takes the first word as what it says, also in front of a comment', () => {
    expect(readFlag({ X: 'yes # on workers' }, 'X')).toEqual({
      value: true,
      warning:
        'X: the comment behind its value is ignored; it is taken as true, but LiteLLM would not do so. Write X=true.',
    });
  });

  it.each(['ture', '""', '"true', '2', 'true#x', '# true', 'true false'])('refuses %j', (text) => {
    expect(() => readFlag({ X: text }, 'X')).toThrow('X is neither true nor false');
  });
});

describe('parseInteger', () => {
  it.each([
    [5, 5],
    ['5', 5],
    [' 7 ', 7],
  ])('takes %j', (text, value) => {
    expect(parseInteger(text, 'N', 0, 10)).toBe(value);
  });
  it.each([11, -1, 1.5, '', 'x', '1e1', '0x1', '-1'])('refuses %j', (text) => {
    expect(() => parseInteger(text, 'N', 0, 10)).toThrow('N must be an integer from 0 to 10.');
  });
});

it('splitList drops blanks and empty parts', () => {
  expect(splitList(' a, b ,,c')).toEqual(['a', 'b', 'c']);
  expect(splitList(null)).toEqual([]);
});
