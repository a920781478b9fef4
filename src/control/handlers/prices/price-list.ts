import {
  costMapRoute,
  priceScheduleRoute,
  reloadPricesRoute,
  schedulePricesRoute,
} from '../../../contract/routes/prices.ts';
import {
  type PriceListSchedule,
  readPriceListSchedule,
  setPriceListSchedule,
} from '../../../storage/repositories/price-list-schedule.ts';
import { askToReloadPrices } from '../../prices/ask-to-reload.ts';
import { endpoint } from '../handler.ts';

export const costMapEndpoint = endpoint(costMapRoute, async (_input, { costMap }) => ({
  json: Object.fromEntries([...costMap()].map(([name, { fields }]) => [name, fields])),
}));

export const reloadPricesEndpoint = endpoint(reloadPricesRoute, async (_input, context) => {
  const gateways = await askToReloadPrices(context);
  return {
    json: {
      status: 'success',
      message: `${gateways.length} instances were asked to read their price lists again`,
      gateways,
      timestamp: new Date(context.clock.nowMs()).toISOString(),
    },
  };
});

export const schedulePricesEndpoint = endpoint(schedulePricesRoute, async ({ caller, query }, { db }) => {
  const schedule = await db.write(async (tx) => {
    await setPriceListSchedule(tx, query.hours, caller.userId);
    return readPriceListSchedule(tx);
  });
  return { json: presentSchedule(schedule) };
});

export const priceScheduleEndpoint = endpoint(priceScheduleRoute, async (_input, { db }) => ({
  json: presentSchedule(await db.read(readPriceListSchedule)),
}));

const MS_PER_HOUR = 3_600_000;

function presentSchedule(schedule: PriceListSchedule | null) {
  return {
    scheduled: schedule !== null,
    interval_hours: schedule?.hours ?? null,
    last_run: schedule?.lastAt.toISOString() ?? null,
    next_run:
      schedule === null ? null : new Date(schedule.lastAt.getTime() + schedule.hours * MS_PER_HOUR).toISOString(),
  };
}
