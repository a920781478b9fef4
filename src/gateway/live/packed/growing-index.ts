/** What an index finds: `hashOf` and `isSought` look at the things that its numbers stand for. */
export interface Indexed {
  /** The same unsigned 32 bits for a number each time, spread evenly. */
  hashOf(value: number): number;
  /** Whether this is the one that is looked for, of those with its hash. */
  isSought(value: number): boolean;
}

export const NOT_FOUND = -1;

const EMPTY = 0;
/** A cell of the former table whose number has moved on, or is gone. */
const LEFT = 0xffffffff;
const CELLS_MIN = 16;
/** Cells of the former table that each insertion empties. It takes 1/24 of what the new table has room for to empty all. */
const CELLS_MOVED_PER_STEP = 32;

/**
 * A hash index of numbers 0..2³²-3: open addressing with linear probing in one array of 32-bit cells, at most 70 % full. It grows step
 * by step: beside the table there may be a former one of half the size, which insertions empty a few cells at a time, so that
 * no call ever waits for all of them.
 */
export class GrowingIndex {
  readonly #indexed: Indexed;
  #cells: Uint32Array;
  #mask: number;
  #count = 0;
  #former: Uint32Array | null = null;
  #formerAt = 0;

  /** With room for `expected` numbers at once. */
  constructor(indexed: Indexed, expected = 0) {
    this.#indexed = indexed;
    let length = CELLS_MIN;
    while (length * 0.7 < expected) length *= 2;
    this.#cells = new Uint32Array(length);
    this.#mask = length - 1;
  }

  get count(): number {
    return this.#count;
  }

  get isGrowing(): boolean {
    return this.#former !== null;
  }

  get bytes(): number {
    return this.#cells.byteLength + (this.#former?.byteLength ?? 0);
  }

  /** The number that is sought, or `NOT_FOUND`. */
  find(hash: number): number {
    const indexed = this.#indexed;
    const cells = this.#cells;
    const mask = this.#mask;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const cell = cells[at]!;
      if (cell === EMPTY) break;
      if (indexed.isSought(cell - 1)) return cell - 1;
    }
    return this.#former === null ? NOT_FOUND : this.#findFormer(this.#former, hash);
  }

  /** Adds a number that is not there yet. */
  insert(hash: number, value: number): void {
    this.#moveSome();
    if (this.#former === null && this.#count >= this.#cells.length * 0.7) this.#beginGrowth();
    this.#place(hash, value);
    this.#count += 1;
  }

  /** Takes out a number that is there. */
  remove(hash: number, value: number): void {
    this.#count -= 1;
    const at = positionOf(this.#cells, hash, value + 1);
    if (at === NOT_FOUND) this.#former![positionOf(this.#former!, hash, value + 1)] = LEFT;
    else this.#close(at);
  }

  /** What was number `from` is number `to` from now on. */
  renumber(hash: number, from: number, to: number): void {
    const at = positionOf(this.#cells, hash, from + 1);
    if (at !== NOT_FOUND) this.#cells[at] = to + 1;
    else this.#former![positionOf(this.#former!, hash, from + 1)] = to + 1;
  }

  #findFormer(former: Uint32Array, hash: number): number {
    const mask = former.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const cell = former[at]!;
      if (cell === EMPTY) return NOT_FOUND;
      if (cell !== LEFT && this.#indexed.isSought(cell - 1)) return cell - 1;
    }
  }

  #beginGrowth(): void {
    this.#former = this.#cells;
    this.#formerAt = 0;
    this.#cells = new Uint32Array(this.#cells.length * 2);
    this.#mask = this.#cells.length - 1;
  }

  #moveSome(): void {
    const former = this.#former;
    if (former === null) return;
    const end = Math.min(former.length, this.#formerAt + CELLS_MOVED_PER_STEP);
    for (let at = this.#formerAt; at < end; at += 1) {
      const cell = former[at]!;
      if (cell === EMPTY || cell === LEFT) continue;
      this.#place(this.#indexed.hashOf(cell - 1), cell - 1);
      // Not empty: what was placed behind it by probing must still be found.
      former[at] = LEFT;
    }
    this.#formerAt = end;
    if (end === former.length) this.#former = null;
  }

  #place(hash: number, value: number): void {
    const cells = this.#cells;
    const mask = this.#mask;
    let at = hash & mask;
    while (cells[at] !== EMPTY) at = (at + 1) & mask;
    cells[at] = value + 1;
  }

  /** Empties a cell of the table and moves up those behind it that would not be found any more. */
  #close(gap: number): void {
    const cells = this.#cells;
    const mask = this.#mask;
    let empty = gap;
    for (let at = (gap + 1) & mask; cells[at] !== EMPTY; at = (at + 1) & mask) {
      const home = this.#indexed.hashOf(cells[at]! - 1) & mask;
      // How far it is from its home must not be less than from the gap.
      if (((at - home) & mask) >= ((at - empty) & mask)) {
        cells[empty] = cells[at]!;
        empty = at;
      }
    }
    cells[empty] = EMPTY;
  }
}

function positionOf(cells: Uint32Array, hash: number, cell: number): number {
  const mask = cells.length - 1;
  for (let at = hash & mask; ; at = (at + 1) & mask) {
    if (cells[at] === cell) return at;
    if (cells[at] === EMPTY) return NOT_FOUND;
  }
}
