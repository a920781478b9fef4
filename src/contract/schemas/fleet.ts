import { z } from 'zod';
import { bool, int, text } from './lax.ts';

export const FLEET_STATES = ['live', 'draining', 'suspect', 'lost', 'left'] as const;
/** Changes on one page. */
export const CHANGES_PER_PAGE_MAX = 500;

export const fleetWorkersQuery = z.object({ region: text.optional(), state: z.enum(FLEET_STATES).optional() });

export const fleetChangesQuery = z.object({
  before: text.optional().describe('`next_before` of the page before.'),
  limit: int.pipe(z.number().min(1).max(CHANGES_PER_PAGE_MAX)).default(50),
  kind: text.optional(),
  object: text.optional().describe('Id of the changed object; of a key its hash, or the key itself.'),
  actor: text.optional(),
});

const rev = int.pipe(z.number().min(1));

export const fleetChangeQuery = z.object({ rev, epoch: int.optional() });
export const rollBackQuery = z.object({ rev, epoch: int.optional() });
export const rollBackBody = z.object({
  dry_run: bool.default(false).describe('Change nothing; say what would be changed.'),
  confirm: bool.default(false).describe('Needed where a key could do more than it may now.'),
});

export const fleetWorkerQuery = z.object({ id: text });

const time = z.iso.datetime();
const timeOrNull = time.nullable();
const state = z.enum(FLEET_STATES);

const fences = z.object({ normal: time, strict: time });

export const gatewayRow = z.object({
  gateway: z.string().describe('`<worker>/<slot>`.'),
  state,
  session: z.string(),
  version: z.string(),
  feed_protocol: z.int(),
  started_at: timeOrNull,
  last_seen: time,
  left_at: timeOrNull,
  left_reason: z.string().nullable(),
  applied: z.object({ epoch: z.int(), rev: z.int(), at: time }).describe('In force and on disk.'),
  lag: z.object({ revisions: z.int(), ms: z.number().nullable() }),
  staleness_ms: z.number().nullable().describe('Age of what its fence goes by.'),
  fence_closes_at: fences.nullable().describe('When it stops admitting keys of each class if it hears nothing more.'),
  key_count: z.int().nullable(),
  set_hash: z.string().nullable(),
  drift: z.boolean().describe('It holds other keys than the rest at the same revision.'),
  configuration: z
    .object({
      rev: z.int(),
      hash: z.string(),
      rejected: z.object({ rev: z.int(), reason: z.string() }).nullable(),
      overrides: z
        .array(z.string())
        .describe('Models of the database that its configuration file replaces.')
        .optional(),
    })
    .nullable(),
  clock_offset_ms: z.number().nullable(),
  usage_log: z
    .object({
      last_seq: z.int(),
      acknowledged_seq: z.int(),
      backlog_records: z.int(),
      oldest_unshipped_ms: z.number(),
      bytes: z.number(),
      disk_free_bytes: z.number().nullable(),
    })
    .nullable(),
  open_requests: z.int().nullable(),
  event_loop_p99_ms: z.number().nullable(),
  rss_bytes: z.number().nullable(),
  requests_per_minute: z.number().nullable(),
  errors_per_minute: z.number().nullable(),
  too_many_per_minute: z.number().nullable(),
  command: z.string().nullable().describe('Asked of it and not yet handed on.'),
});

const reachable = { state: z.enum(['ok', 'away']), away_since: timeOrNull };

export const dependencies = z.object({
  database: z
    .object(reachable)
    .nullable()
    .describe(
      'Of its control process, by when that last wrote to it; null for a joined worker, and for one that has left.',
    ),
  control_plane: z
    .object({ ...reachable, address: z.string().nullable().describe('Of the admin that it is connected to.') })
    .nullable()
    .describe('Of a joined worker.'),
  snapshot_mirror: z
    .object({ state: z.enum(['ok', 'failing']), last_written: timeOrNull, error: z.string().nullable() })
    .nullable()
    .describe('Null: it writes none.'),
});

export const workerRow = z.object({
  worker: z.string(),
  region: z.string(),
  role: z.string(),
  state,
  joined: z.boolean().describe('Without a credential of the database.'),
  public_url: z.string().nullable(),
  control_process: z.object({ version: z.string(), last_seen: time }).nullable(),
  dependencies: dependencies.optional().describe('Absent from answers of older versions.'),
  gateways: z.array(gatewayRow),
});

const head = z.object({ epoch: z.int(), rev: z.int() });

export const fleetWorkers = z.object({ now: time, head, workers: z.array(workerRow) });

export const regionRow = z.object({
  region: z.string(),
  workers: z.int(),
  gateways: z.object(Object.fromEntries(FLEET_STATES.map((name) => [name, z.int()]))),
  lag_revisions_max: z.int(),
  lag_ms_max: z.number().nullable(),
  staleness_ms_max: z.number().nullable(),
  drifted: z.int(),
  rejected_configurations: z.int(),
  open_requests: z.int(),
  requests_per_minute: z.number(),
  errors_per_minute: z.number(),
  too_many_per_minute: z.number(),
  usage_backlog_records: z.int(),
  usage_oldest_unshipped_ms: z.number(),
});

export const fleetRegions = z.object({ now: time, head, regions: z.array(regionRow) });

export const changeRow = z.object({
  epoch: z.int(),
  rev: z.int(),
  at: time,
  kind: z.string(),
  object: z.string(),
  object_rev: z.int(),
  op: z.string(),
  lane: z.enum(['fast', 'guarded']),
  actor: z.string(),
  changed_by: z.string().nullable(),
  request_id: z.string(),
  fields: z
    .array(z.string())
    .describe('Names of the fields that differ, the first 100; of a creation or deletion those that were set.'),
});

export const fleetChanges = z.object({ changes: z.array(changeRow), next_before: z.string().nullable() });

export const fieldDifference = z.object({
  field: z.string(),
  before: z.unknown(),
  after: z.unknown(),
  secret: z
    .literal(true)
    .optional()
    .describe('The values are secrets: shown is only whether there was one, and that it changed.'),
});

const place = z.object({ worker: z.string(), gateway: z.string(), region: z.string() });

export const fleetChange = changeRow.omit({ fields: true }).extend({
  actor_key: z.string().nullable(),
  differences: z.array(fieldDifference),
  delivery: z.object({
    applied: z.array(place.extend({ applied_at: timeOrNull })),
    pending: z.array(
      place.extend({ last_seen: time, safe_at: time, safe_at_strict: time.optional(), reason: z.string() }),
    ),
  }),
});

export const rolledBack = z.object({
  rolled_back: z.int(),
  rev: z.int().nullable().describe('The revision that undoes it; null with `dry_run`.'),
  dry_run: z.boolean(),
  kind: z.string(),
  object: z.string(),
  op: z.string(),
  differences: z.array(fieldDifference).describe('What is different after it.'),
  needs_confirm: z.array(z.string()).describe('Why `confirm` is needed; empty: it is not.'),
});

export const commandGiven = z.object({
  worker: z.string(),
  command: z.enum(['drain', 'resync']),
  gateways: z.array(z.string()).describe('Asked to; what they do shows in /fleet/workers.'),
});

export const workerForgotten = z.object({ worker: z.string(), gateways_forgotten: z.int() });

export type FleetWorkers = z.output<typeof fleetWorkers>;
export type WorkerRow = z.output<typeof workerRow>;
export type GatewayRow = z.output<typeof gatewayRow>;
export type FleetRegions = z.output<typeof fleetRegions>;
export type RegionRow = z.output<typeof regionRow>;
export type FleetChanges = z.output<typeof fleetChanges>;
export type ChangeRow = z.output<typeof changeRow>;
export type FleetChange = z.output<typeof fleetChange>;
export type RolledBack = z.output<typeof rolledBack>;
