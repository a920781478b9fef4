/**
 * Money. Inside Claviger money is an integer number of nano-dollars: a `number` for one call (a safe integer up to
 * $9,007,199) and a `bigint` in ledgers and sums. Prices are integer pico-dollars per unit. Dollars exist only at the edge.
 */

/** Integer nano-dollars (1e-9 USD) of a single call; always a safe integer. */
export type Nano = number & { readonly __unit: 'nano-usd' };

/** Integer pico-dollars (1e-12 USD) per unit (token, image, second, ...). */
export type Pico = number & { readonly __unit: 'pico-usd' };

export const NANO_PER_DOLLAR = 1_000_000_000;
export const PICO_PER_NANO = 1_000;
/** A budget above this many dollars is stored as given and treated as no budget. */
export const BUDGET_DOLLARS_MAX = 9_000_000_000;

export const ZERO_NANO = 0 as Nano;

/** Dollars to nano-dollars, rounded half to even. Throws RangeError when the result is not a safe integer. */
export function nanoFromDollars(dollars: number): Nano {
  const nano = roundHalfEven(dollars * NANO_PER_DOLLAR);
  if (!Number.isSafeInteger(nano)) throw new RangeError(`${dollars} dollars do not fit nano-dollars`);
  return nano as Nano;
}

/** The same for ledgers, which go beyond the safe integers. */
export function bigNanoFromDollars(dollars: number): bigint {
  const whole = Math.floor(dollars);
  return BigInt(whole) * BigInt(NANO_PER_DOLLAR) + BigInt(roundHalfEven((dollars - whole) * NANO_PER_DOLLAR));
}

/** Nano-dollars to a JSON-safe number of dollars. */
export function dollarsFromNano(nano: number | bigint): number {
  return Number(nano) / NANO_PER_DOLLAR;
}

/** A price in dollars per unit (for example 2.5e-6 dollars per token) to pico-dollars per unit. */
export function picoFromDollarsPerUnit(dollars: number): Pico {
  const pico = roundHalfEven(dollars * 1e12);
  if (!Number.isSafeInteger(pico) || pico < 0)
    throw new RangeError(`${dollars} dollars per unit is not a usable price`);
  return pico as Pico;
}

/** Rounds to the nearest integer, a tie to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
