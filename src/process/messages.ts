/** What the supervisor and its children say to each other over the IPC channel that `fork` gives them. */

import type { MetricFamily } from '../observe/metrics.ts';
import type { Settings } from '../settings/settings.ts';

export interface RuntimePaths {
  /** 0700 directory of the unix sockets. */
  readonly socketDir: string;
  /** Management API and console; reached through the relay of the gateway processes. */
  readonly controlSocket: string;
  /** Feed; never reachable from the public port. */
  readonly feedSocket: string;
  /** `<data>/gateway-<slot>`; null in the control process. */
  readonly slotDir: string | null;
}

export interface Boot {
  readonly type: 'boot';
  readonly settings: Settings;
  /** Connection string that the control process uses (embedded or configured); empty in a gateway process. */
  readonly databaseUrl: string;
  readonly embeddedDatabase: boolean;
  readonly instanceId: string;
  /** 0-based; null in the control process. */
  readonly slot: number | null;
  /** Drawn anew at each start of the process. */
  readonly session: string;
  readonly paths: RuntimePaths;
}

export type ToChild =
  | Boot
  /**
   * Readiness off; serve on for `noticeMs`, so that balancers see it; then refuse calls, finish open ones up to the drain time, and
   * exit 0. With `noticeMs` 0 it stops listening at once.
   */
  | { readonly type: 'drain'; readonly noticeMs: number }
  /** Read `config.yaml` again; keep the old configuration when it is wrong. */
  | { readonly type: 'reload' }
  | { readonly type: 'collect-metrics'; readonly id: number }
  /** Answer to `ask-metrics`: all processes of the instance, merged, as exposition text. */
  | { readonly type: 'metrics'; readonly id: number; readonly text: string };

export type ToSupervisor =
  /**
   * The process listens for messages now. A gateway process gets its `boot` in answer, since Node drops what is sent to a
   * cluster worker before its program listens.
   */
  | { readonly type: 'hello' }
  | { readonly type: 'ready' }
  /** The process can not run, with a sentence for the operator; it exits after this and is not restarted at once. */
  | { readonly type: 'fatal'; readonly message: string; readonly retry: boolean }
  | { readonly type: 'collected-metrics'; readonly id: number; readonly families: readonly MetricFamily[] }
  | { readonly type: 'ask-metrics'; readonly id: number }
  /** An operator asked for the whole instance to finish and end, as for SIGTERM. */
  | { readonly type: 'drain-instance' }
  /** The whole instance can not go on, with a sentence for the operator; what is open is finished. */
  | { readonly type: 'end-instance'; readonly message: string };
