import type { Nano } from '../../domain/money.ts';
import type { Charge } from '../../domain/usage.ts';
import type { Log } from '../../observe/log.ts';
import type { LeaseLog, NumberedAsk } from './lease-log.ts';
import { LeaseTable, type PotState, unknownUse } from './lease-table.ts';

export interface RestoreLeasesOptions {
  readonly leaseLog: LeaseLog;
  /** Of the usage log; another one means that the directory is new. */
  readonly incarnation: string;
  readonly bootId: string | null;
  /** In mode `power` what was written is on the disk, also after a reboot. */
  readonly syncsEachRecord: boolean;
  readonly nowMs: number;
  readonly wallMs: number;
  /** Every settlement with a number above `afterSeq`; false when the log does not reach back that far. */
  readonly settledSince: (afterSeq: number, each: (charges: readonly Charge[], costNano: Nano) => void) => boolean;
  readonly log: Log;
}

export interface RestoredLeases {
  readonly table: LeaseTable;
  readonly ask: number;
  readonly open: NumberedAsk | null;
  /** The control plane has asked for a declaration that it has not got. */
  readonly declaring: boolean;
}

/**
 * What a process on this disk may still spend: its last checkpoint, the replies behind it, less everything that was settled since. Where that can
 * not be known for certain, nothing: pots are then taken as spent, and their money comes back with the end of the period.
 */
export function restoreLeases(options: RestoreLeasesOptions): RestoredLeases {
  const { leaseLog, incarnation, bootId, nowMs, wallMs, log } = options;
  const table = new LeaseTable();
  const recovered = leaseLog.recover(log);
  if (recovered === null || recovered.checkpoint.incarnation !== incarnation)
    return { table, ask: 0, open: null, declaring: false };
  const { checkpoint, asks } = recovered;
  const toOursMs = nowMs - wallMs;
  const answered = asks.filter(({ reply }) => reply !== null);
  const last = asks.at(-1);
  const open = last !== undefined && last.reply === null ? last.ask : null;
  const lastAnswer = answered.at(-1) ?? null;
  const refused = lastAnswer?.reply?.reply.ok === false ? lastAnswer.reply.reply.cursor : null;
  const resumed = {
    ask: refused ?? lastAnswer?.ask.ask ?? checkpoint.ask,
    open,
    declaring: refused !== null && open?.declares === undefined,
  };

  const isSameBoot = bootId !== null && bootId === checkpoint.bootId;
  for (const pot of checkpoint.pots) table.restore(onClock(pot, toOursMs), unknownUse(pot.ledger), nowMs);
  for (const { ask, reply } of asks) {
    for (const { ledger, periodStartMs, amountNano } of ask.returns)
      table.lower(ledger, periodStartMs, Number(amountNano));
    if (reply?.reply.ok === true) table.applyReply(reply.reply, ask.wishes, reply.wallMs + toOursMs);
  }
  const reaches = options.settledSince(checkpoint.usageSeq, (charges, costNano) => table.addUsed(charges, costNano));
  if (!reaches || !(isSameBoot || options.syncsEachRecord)) {
    log.warn(
      { pots: table.pots().length },
      'It is not certain what was spent before this start: leases are taken as spent',
    );
    table.takeAsSpent();
  }
  return { table, ...resumed };
}

function onClock(pot: PotState, toOursMs: number): PotState {
  return {
    ...pot,
    startsAtMs: pot.startsAtMs + toOursMs,
    endsAtMs: pot.endsAtMs === null ? null : pot.endsAtMs + toOursMs,
  };
}
