/**
 * A process that makes calls on a usage log as fast as it can and ships them, until it is killed. What the log promised it, it
 * tells on standard output with a synchronous write: `written <id>`, `settled <id> <cost>`.
 *
 * Arguments: slot directory, socket of the feed, prefix of the request ids, segment size.
 */
import { writeSync } from 'node:fs';
import type { Nano } from '../../src/domain/money.ts';
import { SocketFeedTransport } from '../../src/gateway/live/feed-transport.ts';
import { UsageLog } from '../../src/gateway/metering/usage-log.ts';
import { UsageShipper } from '../../src/gateway/metering/usage-shipper.ts';
import type { UsageWaiter } from '../../src/gateway/metering/usage-sink.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLog } from './silent-log.ts';
import { intentOf, settlementOf } from './usage.ts';

const IN_FLIGHT = 20;
const [directory, socketPath, prefix, segmentBytesMax] = process.argv.slice(2) as [string, string, string, string];

const log = new UsageLog({
  directory,
  installation: 'installation',
  clock: systemClock,
  log: silentLog,
  segmentBytesMax: Number(segmentBytesMax),
});
const shipper = new UsageShipper({
  usageLog: log,
  transport: new SocketFeedTransport(socketPath),
  gatewayId: 'instance/0',
  region: 'eu',
  keyEntry: () => undefined,
  clock: systemClock,
  random: Math.random,
  log: silentLog,
  batchDelayMaxMs: 5,
  backOffMinMs: 2,
  backOffMaxMs: 20,
});
shipper.run();

let count = 0;

class Caller implements UsageWaiter {
  #id = '';
  #costNano = 0 as Nano;

  next(): void {
    count += 1;
    this.#id = `${prefix}-${count}`;
    this.#costNano = count as Nano;
    log.intent(intentOf(this.#id, { estimateNano: 1_000_000_000 as Nano }), this);
  }

  onIntentWritten(): void {
    writeSync(1, `written ${this.#id}\n`);
    const settle = (): void => log.settle(settlementOf(this.#id, { costNano: this.#costNano }), this);
    if (count % 3 === 0) setTimeout(settle, 2);
    else settle();
  }

  onIntentRefused(error: Error): void {
    writeSync(2, `refused: ${error.stack}\n`);
    process.exit(3);
  }

  onSettled(): void {
    writeSync(1, `settled ${this.#id} ${this.#costNano}\n`);
    this.next();
  }
}

for (let index = 0; index < IN_FLIGHT; index += 1) new Caller().next();
