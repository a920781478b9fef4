import type { ConfigurationReport, GatewayStats } from '../../feed/protocol.ts';

/** What the row of a gateway process holds besides its columns. */
export interface ReportedStats {
  /** From its newest ping. */
  readonly said: GatewayStats | null;
  /** From its newest acknowledgement or ping. */
  readonly config: ConfigurationReport | null;
  /** Its set hash when it had applied everything there was. Denials run ahead of revisions, so other moments can not be compared. */
  readonly checked: CheckedSet | null;
}

export interface CheckedSet {
  readonly epoch: number;
  readonly rev: number;
  readonly setHash: string;
}

const NOTHING: ReportedStats = { said: null, config: null, checked: null };

/** Rows may be of an older or newer version: what is missing is nothing. */
export function readStats(stats: unknown): ReportedStats {
  return typeof stats === 'object' && stats !== null ? { ...NOTHING, ...(stats as Partial<ReportedStats>) } : NOTHING;
}
