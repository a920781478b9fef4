import { estimateCostRoute } from '../../../contract/routes/prices.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { dollarsFromNano } from '../../../domain/money.ts';
import { priceUsage } from '../../../domain/price-usage.ts';
import { NO_USAGE } from '../../../domain/usage.ts';
import { findPrice } from '../../prices/find-price.ts';
import { endpoint } from '../handler.ts';

export const estimateCostEndpoint = endpoint(estimateCostRoute, async ({ body, caller }, context) => {
  const { input_tokens, model, num_requests_per_day, num_requests_per_month, output_tokens } = body;
  const price = await findPrice(model, body.region ?? undefined, caller, context);
  if (price === null) throw new ClavigerError('bad_request', { reason: `no price is known for ${model}` });
  const { pricing, provider } = price;
  const call = { ...NO_USAGE, promptTokens: input_tokens, completionTokens: output_tokens };
  const { breakdown, costNano } = priceUsage(call, pricing, context.clock.nowMs());
  const marginNano = breakdown?.margin ?? 0;
  const outputNano = breakdown === null ? costNano - inputAlone(call) : (breakdown.output ?? 0);
  const parts = { cost: costNano, input: costNano - outputNano - marginNano, output: outputNano, margin: marginNano };

  function inputAlone(usage: typeof call): number {
    return priceUsage({ ...usage, completionTokens: 0 }, pricing, context.clock.nowMs()).costNano;
  }
  return {
    json: {
      model,
      provider,
      input_tokens,
      output_tokens,
      num_requests_per_day: num_requests_per_day ?? null,
      num_requests_per_month: num_requests_per_month ?? null,
      input_cost_per_token: pricing.input / PICO_PER_DOLLAR,
      output_cost_per_token: pricing.output / PICO_PER_DOLLAR,
      cost_per_request: dollarsFromNano(parts.cost),
      input_cost_per_request: dollarsFromNano(parts.input),
      output_cost_per_request: dollarsFromNano(parts.output),
      margin_cost_per_request: dollarsFromNano(parts.margin),
      ...perPeriod('daily', parts, num_requests_per_day ?? null),
      ...perPeriod('monthly', parts, num_requests_per_month ?? null),
    },
  };
});

const PICO_PER_DOLLAR = 1e12;

type Parts = Readonly<Record<'cost' | 'input' | 'margin' | 'output', number>>;

/** Exact: a call in nano-dollars times the number of calls. */
function perPeriod(period: string, { cost, input, margin, output }: Parts, requests: number | null) {
  const times = (nano: number): number | null =>
    requests === null ? null : dollarsFromNano(BigInt(nano) * BigInt(requests));
  return {
    [`${period}_cost`]: times(cost),
    [`${period}_input_cost`]: times(input),
    [`${period}_output_cost`]: times(output),
    [`${period}_margin_cost`]: times(margin),
  };
}
