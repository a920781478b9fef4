import { expect, it } from 'vitest';
import type { Pricing } from '../domain/deployment.ts';
import { PRICES_REMEMBERED_MAX, PRICES_REMEMBERED_MS, rememberPrices } from './remember-prices.ts';

const pricing = (input: number) => ({ input }) as unknown as Pricing;

function counted(nowMs: () => number) {
  const asked: string[] = [];
  const prices = rememberPrices(
    {
      find: (provider, model, baseModel) => {
        asked.push(`${provider}/${model}/${baseModel}`);
        return model === 'unknown' ? null : pricing(asked.length);
      },
    },
    nowMs,
  );
  return { asked, prices };
}

it('asks once for each name, also when there is no price', () => {
  const { asked, prices } = counted(() => 0);
  for (let n = 0; n < 3; n++) {
    expect(prices.find('openai', 'a', null)).toEqual(pricing(1));
    expect(prices.find('openai', 'a', 'b')).toEqual(pricing(2));
    expect(prices.find('openai', 'unknown', null)).toBeNull();
  }
  expect(asked).toEqual(['openai/a/null', 'openai/a/b', 'openai/unknown/null']);
});

it('asks again after a while, after a step back of the clock, and at its bound', () => {
  let nowMs = PRICES_REMEMBERED_MS;
  const { asked, prices } = counted(() => nowMs);
  const find = () => prices.find('openai', 'a', null);
  find();
  nowMs += PRICES_REMEMBERED_MS - 1;
  find();
  expect(asked).toHaveLength(1);
  nowMs += 1;
  find();
  expect(asked).toHaveLength(2);
  nowMs = 0;
  find();
  expect(asked).toHaveLength(3);
  for (let n = 0; n < PRICES_REMEMBERED_MAX; n++) prices.find('openai', `m${n}`, null);
  find();
  expect(asked).toHaveLength(4 + PRICES_REMEMBERED_MAX);
});
