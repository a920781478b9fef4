/**
 * The feed: control process to gateway process and back, over HTTP: on the unix socket of the instance (`feed.sock`), or from a joined
 * worker to an admin. One protocol for all of them.
 *
 *   POST /feed/v1/stream   body `Hello`; answer: NDJSON of `DownFrame`, open until either side ends it
 *   POST /feed/v1/ping     body `PingRequest`; 200 `PingReply`        (protocol 2)
 *   POST /feed/v1/ack      body `Ack`; 204
 *   POST /feed/v1/denials  body `DenialReport`; 200 `DenialReply`     (protocol 2)
 *   POST /feed/v1/usage    body `UsageBatch`; 200 `UsageReply`
 *   POST /feed/v1/leases   body `LeaseAsk`; 200 `LeaseReply`         (protocol 2)
 *
 * Protocol 1 is what version 0.1.0 spoke: no models, no accounts, no pings upwards, no window, no denials ahead of their delta. A control process speaks
 * both; frames and fields that protocol 2 added are never sent to a client of protocol 1.
 *
 * States, events and invariants: docs/specs/config-feed.md.
 */
import type { Account } from '../domain/account.ts';
import type { Change, Position, Revision } from '../domain/change.ts';
import type { StoredModel } from '../domain/stored-model.ts';
import type { UsageRecord } from '../domain/usage.ts';
import type { JsonValue, Principal } from '../domain/virtual-key.ts';

export const FEED_PROTOCOL = 2;
export const FEED_PROTOCOL_MIN = 1;
/** Largest number of entities in one `entities` frame. */
export const ENTITIES_PER_FRAME_MAX = 500;
/** A `ping` is sent this often; a stream silent for `FEED_SILENCE_MAX_MS` is dropped and dialled again. */
export const FEED_PING_INTERVAL_MS = 1_000;
export const FEED_SILENCE_MAX_MS = 5_000;
/** Between two `PingRequest`s of a gateway process. */
export const FEED_ECHO_INTERVAL_MS = 1_000;
/** Names in one `DenialReport`; a gateway process that has more sends several. */
export const DENIALS_PER_REPORT_MAX = 5_000;
/** Overridden models that a `ConfigurationReport` names: it travels with each ping. */
export const CONFIGURATION_OVERRIDES_MAX = 20;
/** Unsent bytes per subscriber; beyond it the stream is closed and the subscriber starts again from its revision. */
export const FEED_BACKLOG_BYTES_MAX = 16 * 1024 * 1024;

export interface Hello {
  readonly protocol: number;
  /** `<instance id>/<slot>`. */
  readonly gatewayId: string;
  /** Drawn at each process start; a newer session of the same gateway id supersedes an older one. */
  readonly session: string;
  readonly region: string;
  readonly role: 'standalone' | 'admin' | 'worker';
  readonly version: string;
  /** What it has, or null with nothing on disk. */
  readonly have: Position | null;
  /** Protocol 2: the audit head (hex) at `have`; another one there means that history was rewritten. */
  readonly head?: string | null;
  /** Protocol 2: where clients reach the instance (`PROXY_BASE_URL`), or null. */
  readonly publicUrl?: string | null;
  /** Protocol 2: wall clock of the start of this process. */
  readonly startedAtMs?: number;
  /** Joined workers: the worker's half of the keys of this stream, X25519 in base64url. */
  readonly sessionKey?: string;
}

export interface KeyWithSpend {
  readonly principal: Principal;
  /** Spend in nano-dollars as a decimal string (bigint). */
  readonly spendNano: string;
}

export type DownFrame =
  | {
      readonly t: 'welcome';
      readonly protocol: number;
      readonly position: Position;
      readonly mode: 'snapshot' | 'delta';
      /** Protocol 2: the audit head (hex) at `position`. */
      readonly head?: string;
    }
  | { readonly t: 'snapshot-begin'; readonly position: Position; readonly keyCount: number }
  | { readonly t: 'keys'; readonly keys: readonly KeyWithSpend[] }
  /** Digests of keys deleted within the last 30 days: refused as deleted, not unknown. */
  | { readonly t: 'deleted-keys'; readonly tokens: readonly string[] }
  | { readonly t: 'settings'; readonly settings: Readonly<Record<string, JsonValue>> }
  /** Protocol 2: the models of the database that the region of the subscriber may use, secrets sealed. */
  | { readonly t: 'models'; readonly models: readonly StoredModel[] }
  /** Protocol 2: users, teams and so on, as far as they have to be known; before the keys. */
  | { readonly t: 'accounts'; readonly accounts: readonly Account[] }
  | {
      readonly t: 'snapshot-end';
      readonly position: Position;
      readonly head?: string;
      /** Protocol 2: of the `accounts` frames. */
      readonly accountCount?: number;
    }
  | {
      readonly t: 'delta';
      readonly epoch: number;
      readonly from: Revision;
      readonly to: Revision;
      /** In order of revision. Of an object that changed more than once, protocol 2 may send the last state only. */
      readonly changes: readonly Change[];
      /** Protocol 2: the audit head (hex) at `to`. */
      readonly head?: string;
    }
  /**
   * Protocol 2: keys (by digest) and accounts (by `accountKey`) that are refused from `rev` on, ahead of the delta that says so, while an earlier delta is not yet acknowledged.
   * Denials only ever take away, so they need no order.
   */
  | { readonly t: 'deny'; readonly epoch: number; readonly rev: Revision; readonly tokens: readonly string[] }
  /** Protocol 2: something that an operator asked of this gateway process. */
  | { readonly t: 'command'; readonly command: FleetCommand }
  /** `dbAgeMs`: age of the database read behind `rev`, on the control process's monotonic clock. */
  | { readonly t: 'ping'; readonly rev: Revision; readonly dbAgeMs: number }
  | { readonly t: 'superseded' }
  | { readonly t: 'goaway'; readonly retryAfterMs: number };

/** drain: finish what is open and take nothing new, as for a stop. resync: ask for a whole snapshot. */
export type FleetCommand = 'drain' | 'reload-prices' | 'resync';

export interface Ack {
  readonly gatewayId: string;
  readonly session: string;
  readonly epoch: number;
  readonly rev: Revision;
  /** Protocol 2: the configuration (models, settings) in force, which may be older than `rev` when the newest was rejected. */
  readonly config?: ConfigurationReport;
}

export interface ConfigurationReport {
  /** Revision of the models and settings that requests are routed by. */
  readonly rev: Revision;
  /** A newer one that this gateway process could not use; it goes on with `rev`. */
  readonly rejected: { readonly rev: Revision; readonly reason: string } | null;
  /** SHA-256 (hex) of the compiled source, file of the instance included. */
  readonly hash: string;
  /** Ids of models of the database that the file of the instance replaces with other content; the first `CONFIGURATION_OVERRIDES_MAX`. */
  readonly overrides?: readonly string[];
}

/**
 * Keys that a gateway process knew as blocked or deleted in the epoch before, and that the snapshot of the new epoch allows: a restored
 * database has forgotten the revocation. The control plane blocks those that exist. Accounts that were blocked are in `blocked` too, by their
 * `accountKey`.
 */
export interface DenialReport {
  readonly gatewayId: string;
  readonly session: string;
  /** The new epoch. */
  readonly epoch: number;
  readonly blocked: readonly string[];
  readonly deleted: readonly string[];
}

export interface DenialReply {
  readonly epoch: number;
  /** From this revision on all of them are denied by the feed itself. */
  readonly rev: Revision;
  /** Keys that were blocked because of the report, and of those named the ones that exist. */
  readonly blocked: number;
  readonly known: number;
  /** Keys that somebody has unblocked in this epoch: the report does not undo that, and its sender takes a new snapshot. */
  readonly lifted: number;
}

/** Heartbeat, freshness witness and clock estimate in one. Sent every `FEED_ECHO_INTERVAL_MS`, and at once when somebody waits. */
export interface PingRequest {
  readonly gatewayId: string;
  readonly session: string;
  /** Monotonic clock of the gateway process; comes back unchanged. */
  readonly sentAtMs: number;
  readonly epoch: number;
  readonly rev: Revision;
  /** The database is to be asked before the answer: somebody waits to hear what is newer than this ping. */
  readonly fresh: boolean;
  readonly stats: GatewayStats;
}

export interface PingReply {
  readonly sentAtMs: number;
  readonly epoch: number;
  /** Newest revision that the control process has read, and how long ago it did (its monotonic clock). */
  readonly rev: Revision;
  readonly dbAgeMs: number;
  /** The same for the newest read inside a committed write, which a database that was replaced or cut off could not have made. */
  readonly witnessRev: Revision;
  readonly witnessAgeMs: number;
  /** Wall clock of the control process, to estimate offsets with; decides nothing. */
  readonly serverTimeMs: number;
  /** Many gateway processes are connected here: the next ping may come this late. Absent: as usual. */
  readonly intervalMs?: number;
}

/** What a gateway process says about itself; for people, decides nothing. */
export interface GatewayStats {
  /** Age of the fence's witness; null: none yet. */
  readonly stalenessMs: number | null;
  /** Wall clock of the gateway process, and its estimate of how far it is ahead of the control plane's; null: not known yet. */
  readonly clockOffsetMs: number | null;
  /** XOR of digests over all keys and accounts held (hex); equal at equal revisions on all gateway processes. */
  readonly setHash: string;
  readonly keyCount: number;
  readonly config: ConfigurationReport;
  readonly usageLog: {
    readonly lastSeq: number;
    readonly acknowledgedSeq: number;
    readonly backlogRecords: number;
    readonly oldestUnshippedMs: number;
    readonly bytes: number;
    readonly diskFreeBytes: number | null;
  };
  readonly openRequests: number;
  readonly eventLoopP99Ms: number;
  readonly rssBytes: number;
  /** Of the last minute. */
  readonly requestsPerMinute: number;
  readonly errorsPerMinute: number;
  readonly tooManyPerMinute: number;
  readonly draining: boolean;
  /** Absent from those who do not know of it. */
  readonly dependencies?: GatewayDependencies;
}

/** What a gateway process knows about what it depends on, besides providers. */
export interface GatewayDependencies {
  /** Of a joined worker: the admin that it is connected to. Null: it has a control process of its own. */
  readonly controlPlane: string | null;
  /** Null: it writes none. */
  readonly mirror: MirrorState | null;
}

export interface MirrorState {
  /** Since the mirror last held what is on disk here; null: not since the start. */
  readonly writtenAgeMs: number | null;
  /** Why the last attempt failed; null: it did not. */
  readonly failure: string | null;
}

/** Frames `from`+1 .. `to` of one incarnation of a gateway process's usage log; `records` are the settlements in it. */
export interface UsageBatch {
  readonly installation: string;
  readonly gatewayId: string;
  readonly region: string;
  /** Changes only when the log directory is new. */
  readonly incarnation: string;
  readonly from: number;
  readonly to: number;
  readonly records: readonly UsageRecord[];
}

export type UsageReply =
  | {
      readonly ok: true;
      readonly cursor: number;
      /** Spend of the keys in the batch after it, nano-dollars as decimal strings, by token. */
      readonly spend: Readonly<Record<string, string>>;
    }
  /** The database stands elsewhere: resume at `cursor`. */
  | { readonly ok: false; readonly cursor: number };

/** Items of one `LeaseAsk`; a process with more to say sends several. */
export const LEASE_ITEMS_MAX = 500;

/**
 * What a gateway process asks of the budgets; docs/specs/budget-leases.md. Numbered without gaps per gateway id and incarnation (of the usage
 * log), at most one under way, repeated unchanged until it is answered. Money is nano-dollars as decimal strings.
 */
export interface LeaseAsk {
  readonly installation: string;
  readonly gatewayId: string;
  readonly session: string;
  readonly incarnation: string;
  readonly ask: number;
  readonly wishes: readonly LeaseWish[];
  /** Pots that the process has lowered, before it said so. */
  readonly returns: readonly PotAmount[];
  /** Starter leases are wanted for what is spent elsewhere. */
  readonly starters: boolean;
  /** All pots of the process, after a reply `declare`: adopted as they are. */
  readonly declares?: readonly PotAmount[];
}

export interface LeaseWish {
  readonly ledger: string;
  /** `budget_duration` of the terms as the process knows them: it says which period is meant. */
  readonly duration: string | null;
  /** A reset moment that periods of several days are counted from; 0 = the epoch. */
  readonly anchorMs: number;
  /** For a budget that comes from a budget object: the ledger id of that object's terms. */
  readonly template: string | null;
  /** Terms that are configured in files and not stored (provider, deployment); the control plane knows them from here. */
  readonly terms?: { readonly maxNano: string };
  /** The period after the current one. */
  readonly next: boolean;
  readonly needNano: string;
  readonly wantNano: string;
  readonly ratePerMinuteNano: string;
  readonly offlineNano: string;
}

export interface PotAmount {
  readonly ledger: string;
  readonly periodStartMs: number;
  readonly amountNano: string;
}

/** spent: settled has reached the maximum. short: the rest lies in pots of others. unknown: no such budget (any more). learning: a new epoch, nothing is granted yet. terms: the duration is another one by now. */
export type LeaseRefusal = 'spent' | 'short' | 'unknown' | 'learning' | 'terms';

export interface LeaseGrant {
  readonly ledger: string;
  readonly periodStartMs: number;
  /** From this reply to the end of the period; null = it has none. */
  readonly endsInMs: number | null;
  /** From this reply to the start of the period; 0 for the current one. */
  readonly startsInMs: number;
  readonly grantedNano: string;
  readonly refusal: LeaseRefusal | null;
  /** Of the ledger, for error texts and headers. */
  readonly maxNano: string;
  readonly settledNano: string;
}

export type LeaseReply =
  | {
      readonly ok: true;
      readonly ask: number;
      /** One per wish, in their order, then starters. */
      readonly grants: readonly LeaseGrant[];
      /** Pots of this process that others need: it returns what it does not. */
      readonly recalled: readonly Omit<PotAmount, 'amountNano'>[];
      /** Pots that were written off or released: nothing is left in them. */
      readonly closed: readonly Omit<PotAmount, 'amountNano'>[];
    }
  | { readonly ok: false; readonly cursor: number; readonly declare: boolean };
