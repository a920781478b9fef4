/**
 * The feed: control process to gateway process and back. Protocol 1, over HTTP on a unix socket (`feed.sock`).
 *
 *   POST /feed/v1/stream   body `Hello`; answer: NDJSON of `DownFrame`, open until either side ends it
 *   POST /feed/v1/ack      body `Ack`; 204
 *   POST /feed/v1/usage    body `UsageBatch`; 200 `UsageReply`
 *
 * States, events and invariants: docs/specs/config-feed.md.
 */
import type { Change, Position, Revision } from '../domain/change.ts';
import type { UsageRecord } from '../domain/usage.ts';
import type { JsonValue, Principal } from '../domain/virtual-key.ts';

export const FEED_PROTOCOL = 1;
/** Largest number of entities in one `entities` frame. */
export const ENTITIES_PER_FRAME_MAX = 500;
/** A `ping` is sent this often; a stream silent for `FEED_SILENCE_MAX_MS` is dropped and dialled again. */
export const FEED_PING_INTERVAL_MS = 1_000;
export const FEED_SILENCE_MAX_MS = 5_000;
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
      readonly from: Revision;
      readonly to: Revision;
      readonly changes: readonly Change[];
    }
  /** `dbAgeMs`: age of the database read behind `rev`, on the control process's monotonic clock. */
  | { readonly t: 'ping'; readonly rev: Revision; readonly dbAgeMs: number }
  | { readonly t: 'superseded' }
  | { readonly t: 'goaway'; readonly retryAfterMs: number };

export interface Ack {
  readonly gatewayId: string;
  readonly session: string;
  readonly epoch: number;
  readonly rev: Revision;
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
