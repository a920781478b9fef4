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
import { createLog } from '../../src/observe/log.ts';
import { systemClock } from '../../src/util/clock.ts';
import { intentOf, settlementOf } from './usage.ts';

const IN_FLIGHT = 20;
const [directory, socketPath, prefix, segmentBytesMax] = process.argv.slice(2) as [string, string, string, string];

/** A fault in a caller is caught by the usage log, and must not go unnoticed. */
const errors = createLog({ level: 'error', json: true, write: (lines) => say(2, lines) });

const log = new UsageLog({
  directory,
  installation: 'installation',
  clock: systemClock,
  log: errors,
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
  log: errors,
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
    say(1, `written ${this.#id}\n`);
    const settle = (): void => log.settle(settlementOf(this.#id, { costNano: this.#costNano }), this);
    if (count % 3 === 0) setTimeout(settle, 2);
    else settle();
  }

  onIntentRefused(error: Error): void {
    say(2, `refused: ${error.stack}\n`);
    process.exit(3);
  }

  onSettled(): void {
    say(1, `settled ${this.#id} ${this.#costNano}\n`);
    this.next();
  }
}

for (let index = 0; index < IN_FLIGHT; index += 1) new Caller().next();

/** All of it, also when the reader is slow and the pipe is full. */
function say(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}
