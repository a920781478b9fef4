/**
 * Protocol 1 of the feed as version 0.1.0 spoke it: what its gateway processes sent, took and decided. Frozen, and without any import of
 * the program, so that the present control process is tested against what is out there.
 */
export const FEED_PROTOCOL = 1;

export type JsonValue = null | boolean | number | string | JsonValue[] | { [name: string]: JsonValue };
export type JsonObject = { [name: string]: JsonValue };

export interface Position {
  readonly installation: string;
  readonly epoch: number;
  readonly rev: number;
}

export type Change =
  | { readonly rev: number; readonly kind: 'key'; readonly id: string; readonly value: Principal | null }
  | { readonly rev: number; readonly kind: 'setting'; readonly id: string; readonly value: JsonValue };

/** What a gateway process knows about a key. Built from a `VirtualKey` by `principalFromKey`; travels in the feed. */
export interface Principal {
  readonly token: string;
  readonly keyName: string;
  readonly keyAlias: string | null;
  /** Milliseconds since the epoch; null = never. */
  readonly expiresAtMs: number | null;
  readonly blocked: boolean;
  /** Empty = every model. */
  readonly models: readonly string[];
  /** Requested name to model group. */
  readonly aliases: Readonly<Record<string, string>>;
  readonly allowedRoutes: readonly string[];
  readonly userId: string | null;
  readonly teamId: string | null;
  readonly organizationId: string | null;
  readonly projectId: string | null;
  readonly maxBudget: number | null;
  readonly rpmLimit: number | null;
  readonly tpmLimit: number | null;
  readonly maxParallelRequests: number | null;
  readonly tags: readonly string[];
}

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
    }
  | { readonly t: 'snapshot-begin'; readonly position: Position; readonly keyCount: number }
  | { readonly t: 'keys'; readonly keys: readonly KeyWithSpend[] }
  /** Digests of keys deleted within the last 30 days: refused as deleted, not unknown. */
  | { readonly t: 'deleted-keys'; readonly tokens: readonly string[] }
  | { readonly t: 'settings'; readonly settings: Readonly<Record<string, JsonValue>> }
  | { readonly t: 'snapshot-end'; readonly position: Position }
  | {
      readonly t: 'delta';
      readonly epoch: number;
      readonly from: number;
      readonly to: number;
      readonly changes: readonly Change[];
    }
  /** `dbAgeMs`: age of the database read behind `rev`, on the control process's monotonic clock. */
  | { readonly t: 'ping'; readonly rev: number; readonly dbAgeMs: number }
  | { readonly t: 'superseded' }
  | { readonly t: 'goaway'; readonly retryAfterMs: number };

export interface Ack {
  readonly gatewayId: string;
  readonly session: string;
  readonly epoch: number;
  readonly rev: number;
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
  readonly records: readonly unknown[];
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
