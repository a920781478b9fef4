import type { Descriptor } from './limited-subject.ts';
import { Meter, type MeterKind } from './meter.ts';

/** The meters of one subject, each made when it is first needed. */
export class SubjectMeters {
  readonly descriptor: Descriptor;
  readonly id: string;
  requests: Meter | null = null;
  tokens: Meter | null = null;
  slots: Meter | null = null;

  constructor(descriptor: Descriptor, id: string) {
    this.descriptor = descriptor;
    this.id = id;
  }
}

/** Subjects with counters in this process; about 1.2 KB each. At the bound the one that was not used for longest, of a few that are looked at, is forgotten. */
export const SUBJECTS_MAX = 100_000;
/** Looked at in one sweep, so that no sweep takes long. */
const SWEEP_MAX = 2_000;
const EVICTION_CANDIDATES = 32;

/** All meters of this process, by subject. Those that nobody uses are dropped. */
export class MeterBook {
  readonly windowSeconds: number;
  /** Subjects that were forgotten although their window was not over: their limits started anew. */
  evicted = 0;
  readonly #subjectsMax: number;
  readonly #subjects = new Map<Descriptor, Map<string, SubjectMeters>>();
  #count = 0;
  #sweeper: Iterator<SubjectMeters> | null = null;
  #evicter: Iterator<SubjectMeters> | null = null;

  constructor(windowSeconds: number, subjectsMax = SUBJECTS_MAX) {
    this.windowSeconds = windowSeconds;
    this.#subjectsMax = subjectsMax;
  }

  get count(): number {
    return this.#count;
  }

  find(descriptor: Descriptor, id: string): SubjectMeters | undefined {
    return this.#subjects.get(descriptor)?.get(id);
  }

  of(descriptor: Descriptor, id: string): SubjectMeters {
    return this.find(descriptor, id) ?? this.#add(descriptor, id);
  }

  /** The meter, made when it is not there. */
  meter(subject: SubjectMeters, kind: MeterKind): Meter {
    const found = subject[kind];
    if (found !== null) return found;
    const made = new Meter(subject.descriptor, subject.id, kind, this.windowSeconds);
    subject[kind] = made;
    return made;
  }

  /** The meter with the key that another process has for it. */
  meterOfKey(key: string): Meter {
    const first = key.indexOf('|');
    const second = key.indexOf('|', first + 1);
    const subject = this.of(key.slice(0, first) as Descriptor, key.slice(second + 1));
    return this.meter(subject, key.slice(first + 1, second) as MeterKind);
  }

  *meters(): Generator<Meter> {
    for (const subject of this.#all()) yield* metersOf(subject);
  }

  /** Drops what is idle, a bounded number at a time. */
  sweep(nowMs: number, second: number): void {
    this.#sweeper ??= this.#all();
    for (let looked = 0; looked < SWEEP_MAX; looked++) {
      const { value, done } = this.#sweeper.next();
      if (done) {
        this.#sweeper = null;
        return;
      }
      if (isIdle(value, nowMs, second)) this.#drop(value);
    }
  }

  #add(descriptor: Descriptor, id: string): SubjectMeters {
    if (this.#count >= this.#subjectsMax) this.#evict();
    let byId = this.#subjects.get(descriptor);
    if (byId === undefined) {
      byId = new Map();
      this.#subjects.set(descriptor, byId);
    }
    const subject = new SubjectMeters(descriptor, id);
    byId.set(id, subject);
    this.#count++;
    return subject;
  }

  /** Calls that are under way keep their subjects, so the book may hold as many more as there are calls. */
  #evict(): void {
    let oldest: SubjectMeters | null = null;
    let oldestMs = Number.POSITIVE_INFINITY;
    for (let looked = 0; looked < EVICTION_CANDIDATES; looked++) {
      this.#evicter ??= this.#all();
      const { value, done } = this.#evicter.next();
      if (done) {
        this.#evicter = null;
        continue;
      }
      const usedMs = Math.max(value.requests?.lastUsedMs ?? 0, value.tokens?.lastUsedMs ?? 0);
      const slots = value.slots;
      if (slots !== null && slots.inUse + slots.idle + slots.lentCount > 0) continue;
      if (usedMs < oldestMs) {
        oldest = value;
        oldestMs = usedMs;
      }
    }
    if (oldest === null) return;
    this.evicted++;
    this.#drop(oldest);
  }

  #drop(subject: SubjectMeters): void {
    if (this.#subjects.get(subject.descriptor)?.delete(subject.id)) this.#count--;
  }

  *#all(): Generator<SubjectMeters> {
    for (const byId of this.#subjects.values()) yield* byId.values();
  }
}

function metersOf({ requests, tokens, slots }: SubjectMeters): Meter[] {
  return [requests, tokens, slots].filter((meter) => meter !== null);
}

function isIdle(subject: SubjectMeters, nowMs: number, second: number): boolean {
  const { requests, tokens, slots } = subject;
  return (
    (requests === null || requests.isIdle(nowMs, second)) &&
    (tokens === null || tokens.isIdle(nowMs, second)) &&
    (slots === null || slots.isIdle(nowMs, second))
  );
}
