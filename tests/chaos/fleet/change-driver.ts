import { setTimeout as delay } from 'node:timers/promises';
import { addModel, type ChaosFleet } from './chaos-fleet.ts';
import type { KeyRing, RingKey } from './key-ring.ts';
import type { ManagementAnswer } from './management-client.ts';

export interface ChangeDriverOptions {
  readonly fleet: ChaosFleet;
  readonly ring: KeyRing;
  readonly random: () => number;
  readonly onRevoked: (key: RingKey) => void;
  readonly onProblem: (text: string) => void;
}

const PAUSE_MIN_MS = 50;
const PAUSE_MAX_MS = 450;
const RETRY_MS = 250;
const VALID_KEYS_KEPT = 12;
/** A revocation whose answer was lost is made again for this long. */
const FINISH_WITHIN_MS = 120_000;
const EXTRA_MODELS_MAX = 8;

/** Makes, blocks and deletes keys and changes models through the admin, one thing after the other, and finishes what it began. */
export class ChangeDriver {
  /** Management calls by what they were answered. */
  readonly answers = new Map<string, number>();
  /** Models that the fleet has now, besides the one of the calls. */
  readonly extraModels = new Set<string>();
  changes = 0;
  /** Of the newest change that was answered. */
  rev = 0;
  readonly #options: ChangeDriverOptions;
  #running: Promise<void> | null = null;
  #stopping = false;
  #models = 0;

  constructor(options: ChangeDriverOptions) {
    this.#options = options;
  }

  run(): void {
    this.#stopping = false;
    this.#running = this.#drive();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Null: no key came of it; it may exist all the same. */
  async makeKey(): Promise<RingKey | null> {
    const answer = await this.#send('POST', '/key/generate', {});
    if (answer?.status !== 200) return null;
    return this.#options.ring.add(answer.json().key, Date.now());
  }

  async #drive(): Promise<void> {
    const { onProblem, random } = this.#options;
    while (!this.#stopping) {
      const which = random();
      try {
        if (which < 0.45) await this.makeKey();
        else if (which < 0.65) await this.#revoke('/key/block', (key) => ({ key }));
        else if (which < 0.8) await this.#revoke('/key/delete', (key) => ({ keys: [key] }));
        else await this.#changeModel();
      } catch (error) {
        onProblem(`a change could not be made: ${String(error)}`);
      }
      await delay(PAUSE_MIN_MS + random() * (PAUSE_MAX_MS - PAUSE_MIN_MS));
    }
  }

  async #revoke(path: string, bodyOf: (key: string) => object): Promise<void> {
    const { onRevoked, random, ring } = this.#options;
    const key = ring.take(random, VALID_KEYS_KEPT);
    if (key === null) return;
    key.revokingSinceMs = Date.now();
    // 404: an earlier attempt deleted it, and its answer was lost.
    await this.#finish(path, () => this.#send('POST', path, bodyOf(key.key)), [200, 404]);
    ring.revokedNow(key, Date.now());
    onRevoked(key);
  }

  async #changeModel(): Promise<void> {
    const { fleet, random } = this.#options;
    const present = [...this.extraModels];
    if (present.length < EXTRA_MODELS_MAX && random() < 0.6) {
      const name = `extra-${++this.#models}`;
      const known = async (): Promise<boolean> =>
        (await this.#send('GET', '/v1/model/info'))?.text.includes(`id-of-${name}"`) === true;
      await this.#finish('/model/new', async () => {
        try {
          await addModel(fleet.management, fleet.upstream.port, name);
          this.#count('200');
          return { status: 200 };
        } catch {
          return (await known()) ? { status: 200 } : null;
        }
      });
      this.extraModels.add(name);
      this.changes += 1;
    } else if (present.length > 0) {
      const name = present[Math.floor(random() * present.length)]!;
      // 400: it was deleted by an attempt whose answer was lost.
      await this.#finish(
        '/model/delete',
        () => this.#send('POST', '/model/delete', { id: `id-of-${name}` }),
        [200, 400, 404],
      );
      this.extraModels.delete(name);
    }
  }

  async #finish(
    what: string,
    attempt: () => Promise<{ readonly status: number } | null>,
    done: readonly number[] = [200],
  ): Promise<void> {
    const deadline = performance.now() + FINISH_WITHIN_MS;
    for (;;) {
      const answer = await attempt();
      if (answer !== null && done.includes(answer.status)) return;
      if (performance.now() > deadline) throw new Error(`${what} was not answered within ${FINISH_WITHIN_MS} ms`);
      await delay(RETRY_MS);
    }
  }

  async #send(method: string, path: string, body?: object): Promise<ManagementAnswer | null> {
    const answer = await this.#options.fleet.management.send(method, path, body);
    this.#count(answer === null ? 'no answer' : `${answer.status}`);
    const expected = answer === null || [200, 503, 404].includes(answer.status) || path === '/model/delete';
    if (!expected) this.#options.onProblem(`${method} ${path} was answered ${answer.status}: ${answer.text}`);
    if (method === 'POST' && answer?.status === 200) {
      this.changes += 1;
      this.rev = Math.max(this.rev, answer.rev ?? 0);
    }
    return answer;
  }

  #count(outcome: string): void {
    this.answers.set(outcome, (this.answers.get(outcome) ?? 0) + 1);
  }
}
