import type { Log } from '../../observe/log.ts';
import { isPriceListDue, takePriceListTurn } from '../../storage/repositories/price-list-schedule.ts';
import type { ControlContext } from '../context.ts';
import { askToReloadPrices } from './ask-to-reload.ts';

/** How often the schedule is looked at. */
export const SCHEDULE_POLL_MS = 60_000;

export interface PriceListTurnsOptions extends Pick<ControlContext, 'db' | 'readFleet' | 'registry'> {
  readonly log: Log;
}

/** Has price lists read again when the schedule says so; of all control processes one does. */
export class PriceListTurns {
  readonly #options: PriceListTurnsOptions;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: PriceListTurnsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.check(), SCHEDULE_POLL_MS);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Returns whether it was time, and its turn. */
  async check(): Promise<boolean> {
    const { db, log } = this.#options;
    try {
      if (!(await db.read(isPriceListDue)) || !(await db.write(takePriceListTurn))) return false;
      const gateways = await askToReloadPrices(this.#options);
      log.info({ gateways: gateways.length }, 'Price lists are read again, as scheduled');
      return true;
    } catch (error) {
      log.debug({ err: error }, 'the schedule of price lists could not be read');
      return false;
    }
  }
}
