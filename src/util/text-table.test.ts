import { expect, it } from 'vitest';
import { textTable } from './text-table.ts';

it('aligns columns, ends lines without blanks, and keeps each row on its line', () => {
  expect(
    textTable(
      ['A', 'LONG HEAD', 'C'],
      [
        ['longer', 'x', ''],
        ['y', 'two\nlines\u001b[31m', 'z'],
      ],
    ),
  ).toBe(['A       LONG HEAD       C', 'longer  x', 'y       two?lines?[31m  z'].join('\n'));
  expect(textTable(['A'], [])).toBe('A');
});
