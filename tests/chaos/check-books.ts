/** A call as a client or the provider knows it. */
export interface KnownCall {
  readonly id: string;
  readonly prompt: number;
  readonly completion: number;
}

/** A row of the spend log. */
export interface BookRow {
  readonly requestId: string;
  readonly callId: string;
  readonly token: string;
  readonly model: string;
  readonly prompt: number;
  readonly completion: number;
  readonly estimated: boolean;
  readonly costNano: bigint;
  readonly gatewayId: string;
  readonly incarnation: string;
  readonly seq: bigint;
}

export interface DailySums {
  readonly spendNano: bigint;
  readonly requests: bigint;
  readonly prompt: bigint;
  readonly completion: bigint;
}

/** Everything that can be compared when all is quiet again. */
export interface Books {
  /** Calls whose whole answer a client has. */
  readonly completed: readonly KnownCall[];
  /** Calls that the provider billed, by its own ledger. */
  readonly billed: readonly KnownCall[];
  readonly rows: readonly BookRow[];
  readonly keySpendNano: ReadonlyMap<string, bigint>;
  readonly daily: DailySums;
  readonly cursors: readonly { readonly gatewayId: string; readonly incarnation: string; readonly seq: bigint }[];
  readonly deadLetters: number;
}

export interface Prices {
  readonly promptNano: number;
  readonly completionNano: number;
}

/** What does not add up, a sentence each; nothing when the books are right. */
export function checkBooks(books: Books, prices: Prices): string[] {
  return [
    ...doubles('the provider billed call', books.billed, ({ id }) => id),
    ...doubles('the spend log has call', books.rows, ({ callId }) => callId),
    ...doubles('the spend log has request', books.rows, ({ requestId }) => requestId),
    ...calls(books, prices),
    ...sums(books),
    ...numbers(books),
    ...(books.deadLetters === 0 ? [] : [`${books.deadLetters} records were set aside as unusable`]),
  ];
}

function calls({ billed, completed, rows }: Books, prices: Prices): string[] {
  const problems: string[] = [];
  const ledger = new Map(billed.map((call) => [call.id, call]));
  const byCall = new Map(rows.map((row) => [row.callId, row]));
  const done = new Set(completed.map(({ id }) => id));
  for (const call of completed) {
    const bill = ledger.get(call.id);
    if (bill === undefined) problems.push(`call ${call.id} was answered and never billed`);
    else if (!sameTokens(call, bill)) problems.push(`call ${call.id} told its client other tokens than the ledger has`);
  }
  for (const bill of billed) {
    const row = byCall.get(bill.id);
    if (row === undefined) {
      problems.push(
        `call ${bill.id} was billed and has no row${done.has(bill.id) ? '; its client has the answer' : ''}`,
      );
      continue;
    }
    // Only a call that was killed in flight may be a guess.
    if (row.estimated) {
      if (done.has(bill.id)) problems.push(`call ${bill.id} was answered and its row is an estimate`);
      continue;
    }
    if (!sameTokens(row, bill)) problems.push(`call ${bill.id} has other tokens in its row than in the ledger`);
    const costNano = BigInt(bill.prompt * prices.promptNano + bill.completion * prices.completionNano);
    if (row.costNano !== costNano)
      problems.push(`call ${bill.id} costs ${row.costNano} and not ${costNano} nano-dollars`);
  }
  for (const row of rows) {
    // A call killed before the provider had it was begun all the same.
    if (!ledger.has(row.callId) && !row.estimated) problems.push(`row ${row.callId} was never billed`);
  }
  return problems;
}

function sums({ daily, keySpendNano, rows }: Books): string[] {
  const problems: string[] = [];
  const byKey = new Map<string, bigint>();
  for (const { token, costNano } of rows) byKey.set(token, (byKey.get(token) ?? 0n) + costNano);
  for (const token of new Set([...byKey.keys(), ...keySpendNano.keys()])) {
    const [summed, kept] = [byKey.get(token) ?? 0n, keySpendNano.get(token) ?? 0n];
    if (summed !== kept) problems.push(`key ${token.slice(0, 8)} has spent ${kept}, its rows add up to ${summed}`);
  }
  const expected: DailySums = {
    spendNano: total(rows, ({ costNano }) => costNano),
    requests: BigInt(rows.length),
    prompt: total(rows, ({ prompt }) => BigInt(prompt)),
    completion: total(rows, ({ completion }) => BigInt(completion)),
  };
  for (const name of ['spendNano', 'requests', 'prompt', 'completion'] as const) {
    if (daily[name] !== expected[name])
      problems.push(`daily ${name} is ${daily[name]}, the rows give ${expected[name]}`);
  }
  return problems;
}

/**
 * A call is two frames, begun and settled, so when nothing is open any more the cursor of a log has to be twice the number
 * of its rows: less rows mean that frames were passed over, more that some were counted which were never shipped.
 */
function numbers({ cursors, rows }: Books): string[] {
  const problems: string[] = [];
  const logs = new Map<string, BookRow[]>();
  for (const row of rows) {
    const name = `${row.gatewayId} ${row.incarnation}`;
    logs.set(name, [...(logs.get(name) ?? []), row]);
  }
  const known = new Map(cursors.map(({ gatewayId, incarnation, seq }) => [`${gatewayId} ${incarnation}`, seq]));
  for (const [name, seq] of known) {
    const count = logs.get(name)?.length ?? 0;
    if (seq !== BigInt(count * 2)) problems.push(`log ${name} was shipped up to ${seq} and has ${count} rows`);
  }
  for (const [name, list] of logs) {
    if (!known.has(name)) problems.push(`log ${name} has rows and no cursor`);
    problems.push(...doubles(`log ${name} has frame`, list, ({ seq }) => `${seq}`));
  }
  return problems;
}

function doubles<T>(what: string, list: readonly T[], nameOf: (item: T) => string): string[] {
  const counts = new Map<string, number>();
  for (const item of list) counts.set(nameOf(item), (counts.get(nameOf(item)) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 1).map(([name, count]) => `${what} ${name} ${count} times`);
}

function total<T>(list: readonly T[], of: (item: T) => bigint): bigint {
  return list.reduce((sum, item) => sum + of(item), 0n);
}

function sameTokens(a: Omit<KnownCall, 'id'>, b: Omit<KnownCall, 'id'>): boolean {
  return a.prompt === b.prompt && a.completion === b.completion;
}
