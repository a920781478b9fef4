import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { UsageRecord } from '../../src/domain/usage.ts';
import { parseUsageBatch } from '../../src/feed/codec.ts';
import type { UsageBatch, UsageReply } from '../../src/feed/protocol.ts';

/** What may go wrong with one batch. */
export type IngestFault =
  | 'none'
  /** It does not get there. */
  | 'lost'
  /** It is ingested, and the answer does not get back. */
  | 'no-answer'
  /** The database is away. */
  | 'refused';

/**
 * The database's side of usage delivery, kept in memory: a cursor per gateway and incarnation, and rows by request id. It is
 * asked over a real unix socket, and what breaks a rule is noted in `violations`.
 */
export class UsageLedger {
  readonly rows = new Map<string, UsageRecord>();
  readonly cursors = new Map<string, number>();
  readonly batches: UsageBatch[] = [];
  readonly violations: string[] = [];
  /** Decides what happens to each batch. */
  fault: (batch: UsageBatch) => IngestFault = () => 'none';
  /** Answers to be given instead of ingesting, by status. */
  status: ((batch: UsageBatch) => number) | null = null;
  duplicates = 0;
  readonly #server: Server;
  #inFlight = 0;

  constructor() {
    this.#server = createServer(async (request, response) => {
      let body = '';
      try {
        for await (const chunk of request) body += chunk;
      } catch {
        // The sender was killed in the middle of its batch.
        return;
      }
      const batch = parseUsageBatch(body);
      this.#inFlight += 1;
      if (this.#inFlight > 1) this.violations.push('two batches at once');
      const fault = this.fault(batch);
      const status = this.status?.(batch) ?? 200;
      const reply = fault === 'lost' || fault === 'refused' || status !== 200 ? null : this.ingest(batch);
      await new Promise((resolve) => setImmediate(resolve));
      this.#inFlight -= 1;
      if (fault === 'lost' || fault === 'no-answer') {
        response.destroy();
        return;
      }
      response.writeHead(fault === 'refused' ? 503 : status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(reply ?? { error: 'the database is away' }));
    });
  }

  async listen(socketPath: string): Promise<void> {
    this.#server.listen(socketPath);
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** As the control process does it: the cursor guards, rows are inserted where there are none, spend is a sum of rows. */
  ingest(batch: UsageBatch): UsageReply {
    this.batches.push(batch);
    const key = `${batch.gatewayId} ${batch.incarnation}`;
    const cursor = this.cursors.get(key) ?? 0;
    if (cursor !== batch.from) return { ok: false, cursor };
    let last = batch.from;
    for (const record of batch.records) {
      if (record.seq <= last || record.seq > batch.to) this.violations.push(`record ${record.seq} is out of place`);
      last = record.seq;
      if (this.rows.has(record.requestId)) this.duplicates += 1;
      else this.rows.set(record.requestId, record);
    }
    this.cursors.set(key, batch.to);
    const spend: Record<string, string> = {};
    for (const { token } of batch.records) spend[token] ??= String(this.spendOf(token));
    return { ok: true, cursor: batch.to, spend };
  }

  spendOf(token: string): bigint {
    let sum = 0n;
    for (const row of this.rows.values()) if (row.token === token) sum += BigInt(row.costNano);
    return sum;
  }

  cursorOf(gatewayId: string, incarnation: string): number {
    return this.cursors.get(`${gatewayId} ${incarnation}`) ?? 0;
  }
}
