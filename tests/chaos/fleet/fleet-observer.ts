import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { ChaosFleet } from './chaos-fleet.ts';
import type { Verdicts } from './verdicts.ts';

interface GatewayRow {
  readonly gateway_id: string;
  readonly instance_id: string;
  readonly session: string;
  readonly epoch: number;
  readonly rev: string;
  readonly checked: { epoch: number; rev: number; setHash: string } | null;
  readonly backlog: number | null;
}

const LOOK_MS = 300;
const REMEMBER_EVERY = 4;

/** Reads what gateway processes have reported, straight from the database and past everything that is tested. */
export class FleetObserver {
  /** What the database has as confirmed to be on disk, by instance. */
  readonly confirmedRev = new Map<string, number>();
  readonly #fleet: ChaosFleet;
  readonly #verdicts: Verdicts;
  #running: Promise<void> | null = null;
  #stopping = false;

  constructor(fleet: ChaosFleet, verdicts: Verdicts) {
    this.#fleet = fleet;
    this.#verdicts = verdicts;
  }

  run(): void {
    this.#running = (async () => {
      for (let look = 0; !this.#stopping; look++) {
        if (look % REMEMBER_EVERY === 0) this.#fleet.remember();
        await this.look().catch(() => null);
        await delay(LOOK_MS);
      }
    })();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Fails while the database is away. */
  async look(): Promise<readonly GatewayRow[]> {
    const client = new pg.Client({
      connectionString: this.#fleet.database.cluster.directUrl('litellm'),
      application_name: 'the test',
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<GatewayRow>(
        `select gateway_id, instance_id, session, epoch, rev, stats->'checked' as checked,
           (stats->'said'->'usageLog'->>'backlogRecords')::int as backlog
         from claviger.gateway`,
      );
      const atMs = Date.now();
      for (const row of rows) {
        const rev = Number(row.rev);
        this.#verdicts.reported(atMs, {
          ...{ gatewayId: row.gateway_id, session: row.session, epoch: row.epoch, rev },
          checked: row.checked,
        });
        this.confirmedRev.set(row.instance_id, Math.max(rev, this.confirmedRev.get(row.instance_id) ?? 0));
      }
      return rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}
