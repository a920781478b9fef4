import type { KeyObject } from 'node:crypto';
import type { Log } from '../../../observe/log.ts';
import { type Database, DatabaseBusy, DatabaseUnavailable } from '../../../storage/db.ts';
import { type EnrolledInstance, findEnrolled, takeNextKey } from '../../../storage/repositories/enrolment.ts';
import type { Clock } from '../../../util/clock.ts';
import { readPublicKey } from '../../../util/ed25519.ts';
import { unseal } from '../../../util/sealed-value.ts';

/** An instance as its requests are judged by. */
export interface KnownInstance {
  readonly instanceId: string;
  readonly region: string;
  readonly role: string;
  readonly key: KeyObject;
  /** Offered at a renewal; good too until it is used for the first time, and then the only one. */
  readonly nextKey: KeyObject | null;
  /** What its secrets are sealed with. */
  readonly sealingKey: string;
  readonly revoked: boolean;
  /** Negative: not expired. */
  expiredForMs(): number;
}

/** What is known of instances is read again so often: a revocation by another admin counts here after at most so long. */
export const ENROLMENT_REFRESH_MS = 1_000;
/** Unknown ids that are looked up at the same time; more are told to come back. */
const LOOK_UPS_MAX = 8;

interface Known {
  readonly row: EnrolledInstance;
  readonly instance: KnownInstance;
  /** Monotonic. */
  readAtMs: number;
}

/** Wrong signatures do not make us ask the database more often, per instance. */
const READ_AGAIN_AFTER_MS = 200;

export interface EnrolledInstancesOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** Of the installation. */
  readonly sealingKey: string;
  readonly log: Log;
  readonly refreshMs?: number;
}

/**
 * The joined workers that this control process has heard of. While the database is away, what was known of them last counts; one that was
 * never heard of can not be judged then.
 */
export class EnrolledInstances {
  readonly #options: EnrolledInstancesOptions;
  readonly #known = new Map<string, Known>();
  readonly #lookUps = new Map<string, Promise<KnownInstance | null>>();
  readonly #endListeners = new Set<(instanceId: string) => void>();
  readonly #timer: NodeJS.Timeout;
  #refreshing = false;

  constructor(options: EnrolledInstancesOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#refresh(), options.refreshMs ?? ENROLMENT_REFRESH_MS);
    this.#timer.unref();
  }

  /** Null: it is not enrolled. Throws `DatabaseUnavailable` or `DatabaseBusy` when that can not be said. */
  async find(instanceId: string): Promise<KnownInstance | null> {
    const known = this.#known.get(instanceId);
    if (known !== undefined) return known.instance;
    const underWay = this.#lookUps.get(instanceId);
    if (underWay !== undefined) return underWay;
    if (this.#lookUps.size >= LOOK_UPS_MAX) throw new DatabaseBusy('too many instances are looked up at the moment');
    const lookUp = this.reload([instanceId]).then(() => this.#known.get(instanceId)?.instance ?? null);
    this.#lookUps.set(instanceId, lookUp);
    return lookUp.finally(() => this.#lookUps.delete(instanceId));
  }

  /** Reads these again now: something was changed here. */
  async reload(instanceIds: readonly string[]): Promise<void> {
    const rows = await this.#options.db.read((tx) => findEnrolled(tx, instanceIds));
    const found = new Map(rows.map((row) => [row.instanceId, row]));
    for (const instanceId of instanceIds) {
      const row = found.get(instanceId);
      if (row === undefined) {
        if (this.#known.delete(instanceId)) this.#tellEnd(instanceId);
      } else this.#take(row);
    }
  }

  /** What is known of it, read again unless that was done a moment ago; for what looks wrong and may only be new. */
  async findNewest(instanceId: string): Promise<KnownInstance | null> {
    const known = this.#known.get(instanceId);
    const { clock } = this.#options;
    if (known === undefined || clock.monotonicMs() - known.readAtMs < READ_AGAIN_AFTER_MS) return this.find(instanceId);
    // Whoever asks meanwhile is answered from what there is.
    known.readAtMs = clock.monotonicMs();
    await this.reload([instanceId]);
    return this.#known.get(instanceId)?.instance ?? null;
  }

  /** The next key of an instance was used: the one before it is over. */
  async keyUsed(instanceId: string): Promise<void> {
    const nextPublicKey = this.#known.get(instanceId)?.row.nextPublicKey;
    if (nextPublicKey === undefined || nextPublicKey === null) return;
    await this.#options.db.write((tx) => takeNextKey(tx, instanceId, nextPublicKey));
    await this.reload([instanceId]);
  }

  /** Called when an instance was revoked or is not enrolled any more. */
  onEnd(listener: (instanceId: string) => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #refresh(): Promise<void> {
    if (this.#refreshing || this.#known.size === 0) return;
    this.#refreshing = true;
    try {
      await this.reload([...this.#known.keys()]);
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable || error instanceof DatabaseBusy)) {
        this.#options.log.error({ err: error }, 'joined workers could not be read');
      }
    } finally {
      this.#refreshing = false;
    }
  }

  #take(row: EnrolledInstance): void {
    const before = this.#known.get(row.instanceId);
    const { clock, sealingKey } = this.#options;
    const readAtMs = clock.monotonicMs();
    const isSame =
      before !== undefined &&
      before.row.publicKey === row.publicKey &&
      before.row.nextPublicKey === row.nextPublicKey &&
      before.row.sealingKeySealed === row.sealingKeySealed;
    const { instanceId, region, role, revoked } = row;
    const instance: KnownInstance = {
      instanceId,
      region,
      role,
      revoked,
      key: isSame ? before.instance.key : readPublicKey(row.publicKey),
      nextKey: isSame ? before.instance.nextKey : row.nextPublicKey === null ? null : readPublicKey(row.nextPublicKey),
      sealingKey: isSame
        ? before.instance.sealingKey
        : unseal(row.sealingKeySealed, sealingKey, sealingKeyContext(instanceId)),
      expiredForMs: () => row.expiredForMs + (clock.monotonicMs() - readAtMs),
    };
    this.#known.set(instanceId, { row, instance, readAtMs });
    if (revoked && before?.row.revoked !== true) this.#tellEnd(instanceId);
  }

  #tellEnd(instanceId: string): void {
    for (const listener of this.#endListeners) listener(instanceId);
  }
}

export function sealingKeyContext(instanceId: string): string {
  return `enrolled_instance/${instanceId}/sealing_key`;
}
