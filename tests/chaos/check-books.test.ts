import { expect, it } from 'vitest';
import { type BookRow, type Books, checkBooks, type KnownCall } from './check-books.ts';

const PRICES = { promptNano: 2_500, completionNano: 10_000 };
const CALLS: readonly KnownCall[] = Array.from({ length: 6 }, (_, i) => ({
  id: `c${i}`,
  prompt: 10 + i,
  completion: 3,
}));

/** Six calls over two logs; the last one was killed in flight. */
function rightBooks(): Books {
  const rows = CALLS.map(
    (call, i): BookRow => ({
      requestId: `r${i}`,
      callId: call.id,
      token: `key-${i % 2}`,
      model: 'm',
      prompt: call.prompt,
      completion: i === 5 ? 0 : call.completion,
      estimated: i === 5,
      costNano: BigInt(call.prompt * 2_500 + (i === 5 ? 0 : call.completion * 10_000)),
      gatewayId: `g/${i % 2}`,
      incarnation: 'one',
      seq: BigInt((i >> 1) * 2 + 2),
    }),
  );
  return booksOf(rows);
}

/** Books whose sums follow from the rows, so that only what a mutant changes is wrong. */
function booksOf(rows: readonly BookRow[]): Books {
  const keySpendNano = new Map<string, bigint>();
  for (const { token, costNano } of rows) keySpendNano.set(token, (keySpendNano.get(token) ?? 0n) + costNano);
  const sum = (of: (row: BookRow) => bigint): bigint => rows.reduce((total, row) => total + of(row), 0n);
  return {
    completed: CALLS.slice(0, 5),
    billed: CALLS,
    rows,
    keySpendNano,
    daily: {
      spendNano: sum(({ costNano }) => costNano),
      requests: BigInt(rows.length),
      prompt: sum(({ prompt }) => BigInt(prompt)),
      completion: sum(({ completion }) => BigInt(completion)),
    },
    cursors: ['g/0', 'g/1'].map((gatewayId) => ({ gatewayId, incarnation: 'one', seq: 6n })),
    deadLetters: 0,
  };
}

const right = rightBooks();
const change = (index: number, fields: Partial<BookRow>): BookRow[] =>
  right.rows.map((row, i) => (i === index ? { ...row, ...fields } : row));

it('finds nothing wrong with books that are right', () => {
  expect(checkBooks(right, PRICES)).toEqual([]);
});

// The sums of all but the marked ones are made to fit, as they would if the fault came before them.
it.each<[string, Books, RegExp]>([
  ['a lost row', booksOf(right.rows.slice(1)), /c0 was billed and has no row; its client has the answer/],
  ['a lost row of a killed call', booksOf(right.rows.slice(0, 5)), /c5 was billed and has no row$/],
  ['a row twice', booksOf([...right.rows, { ...right.rows[0]!, requestId: 'again' }]), /has call c0 2 times/],
  ['a frame number twice', booksOf(change(2, { seq: 2n })), /has frame 2 2 times/],
  ['another cost', booksOf(change(1, { costNano: 1n })), /c1 costs 1 and not/],
  ['other tokens', booksOf(change(1, { completion: 4 })), /c1 has other tokens/],
  [
    'a guess for an answered call',
    booksOf(change(1, { estimated: true })),
    /c1 was answered and its row is an estimate/,
  ],
  [
    'a row that nobody billed',
    { ...right, billed: CALLS.slice(1), completed: CALLS.slice(1, 5) },
    /c0 was never billed/,
  ],
  ['a call billed twice', { ...right, billed: [...CALLS, CALLS[2]!] }, /billed call c2 2 times/],
  ['an answer that was never billed', { ...right, billed: CALLS.slice(0, 4) }, /c4 was answered and never billed/],
  ['another spend of a key', { ...right, keySpendNano: new Map([['key-0', 1n]]) }, /key key-0 has spent 1/],
  ['another daily sum', { ...right, daily: { ...right.daily, requests: 7n } }, /daily requests is 7/],
  [
    'a gap',
    { ...right, cursors: right.cursors.map((cursor) => ({ ...cursor, seq: 8n })) },
    /shipped up to 8 and has 3 rows/,
  ],
  ['no cursor', { ...right, cursors: right.cursors.slice(1) }, /g\/0 one has rows and no cursor/],
  ['records set aside', { ...right, deadLetters: 1 }, /1 records were set aside/],
])('notices %s', (_what, books, problem) => {
  expect(checkBooks(books, PRICES)).toContainEqual(expect.stringMatching(problem));
});
