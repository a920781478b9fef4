import type { Lender, Loan } from './lender.ts';
import type { LimitedQuantity, LimitedSubject } from './limited-subject.ts';
import type { Meter, MeterKind } from './meter.ts';
import type { MeterBook, SubjectMeters } from './meter-book.ts';
import { Permit } from './permit.ts';
import type { Refusal } from './refusal.ts';
import { reservedTokens, type TokenEstimate } from './token-estimate.ts';
import { AHEAD_SECONDS } from './window-counter.ts';

/** The other gateway processes of this instance. */
export interface InstanceLenders {
  /** Null: this process owns the meter. */
  lenderOf(meter: Meter): Lender | null;
  /** A meter that is owned here has been counted in. */
  noteChange(meter: Meter): void;
}

/** What all instances of the region share. */
export interface RegionLender extends Lender {
  /** False: it can not be reached, or has not seen a whole window since it could. Then each instance has its share. */
  readonly trusted: boolean;
  readonly liveInstances: number;
}

export interface RateLimitsOptions {
  readonly book: MeterBook;
  /** The same in all processes of the machine. */
  readonly monotonicMs: () => number;
  /** Null: this is the only gateway process. */
  readonly instance: InstanceLenders | null;
  /** Null: there is no Redis. */
  readonly region: RegionLender | null;
  /** Regions that a limit with `scope: global` is divided among. */
  readonly regions: () => number;
  readonly setTimer: (callback: () => void, delayMs: number) => () => void;
}

/** Counts since the start, for metrics. */
export interface RateLimitCounts {
  asked: number;
  /** Questions whose call did not wait for the answer any longer. */
  unanswered: number;
}

/** One quantity that a call needs of one subject. */
interface Need {
  readonly subject: LimitedSubject;
  readonly quantity: LimitedQuantity;
  readonly meter: Meter;
  readonly limit: number;
  readonly amount: number;
  readonly enforced: boolean;
  readonly lender: Lender | null;
}

type OnDecision = (decision: Permit | Refusal) => void;

/** A lender that had nothing is not asked again for so long: windows move by the second. */
const EMPTY_MS = 20;
/** Slots that are not used for so long go back. */
const IDLE_SLOTS_MS = 1_000;

/**
 * Admits calls, or says what is used up. One step over all subjects of a call: everything it needs is taken, or nothing.
 *
 * Alone, the truth is in the meters of this process. With others, what a call needs is borrowed ahead of it, and only a call that
 * would be refused waits for its lender.
 */
export class RateLimits {
  readonly counts: RateLimitCounts = { asked: 0, unanswered: 0 };
  readonly #options: RateLimitsOptions;
  readonly #book: MeterBook;
  readonly #alone: boolean;
  /** Meters with something borrowed that may have to go back. */
  readonly #borrowing = new Set<Meter>();

  constructor(options: RateLimitsOptions) {
    this.#options = options;
    this.#book = options.book;
    this.#alone = options.instance === null && options.region === null;
  }

  /** Null: a lender is asked, and `onDecision` follows. `failing`: deployments of the model fail, so limits of type dynamic are in force. */
  admit(
    subjects: readonly LimitedSubject[],
    estimate: TokenEstimate,
    failing: boolean,
    onDecision: OnDecision,
  ): Permit | Refusal | null {
    return this.#alone
      ? this.#admitAlone(subjects, estimate, failing)
      : this.#admitBorrowing(subjects, estimate, failing, onDecision, false);
  }

  /** Whether a call would be admitted now by what is known here; nothing is taken or asked. */
  wouldAdmit(subject: LimitedSubject, estimate: TokenEstimate): Refusal | null {
    const nowMs = this.#options.monotonicMs();
    for (const need of this.#needs([subject], estimate, true))
      if (need.lender === null && !this.#has(need, nowMs)) return this.#refusal(need, nowMs);
    return null;
  }

  /** The call is over, with so many tokens. Once per permit; further calls do nothing. */
  settle(permit: Permit, usedTokens: number): void {
    if (permit.settled) return;
    permit.settled = true;
    if (permit.charges === null) this.#settleAlone(permit, usedTokens);
    else this.#settleBorrowed(permit, usedTokens);
  }

  /** What is left of a quantity as far as it is known here, never below 0. */
  remaining(subject: LimitedSubject, kind: MeterKind, limit: number): number {
    const meter = this.#book.find(subject.descriptor, subject.id)?.[kind];
    if (meter == null) return limit;
    const lender = this.#lenderOf(meter);
    if (lender !== null) return Math.max(0, (meter.remaining ?? limit) + meter.held(this.#options.monotonicMs()));
    const used = kind === 'slots' ? meter.inUse + meter.lentCount : meter.window.sumAt(this.#second());
    return Math.max(0, this.#limitHere(limit, subject) - used);
  }

  secondsUntilFree(subject: LimitedSubject, kind: MeterKind, limit: number): number {
    const meter = this.#book.find(subject.descriptor, subject.id)?.[kind];
    if (meter == null || kind === 'slots') return 0;
    if (this.#lenderOf(meter) !== null) return meter.remaining === 0 ? meter.resetSeconds : 0;
    return meter.window.secondsUntilFree(this.#second(), 1, this.#limitHere(limit, subject));
  }

  /** To be called a few times a second: gives back what was borrowed in vain, and drops what nobody uses. */
  tick(): void {
    const nowMs = this.#options.monotonicMs();
    for (const meter of this.#borrowing) {
      const lender = this.#lenderOf(meter);
      meter.expire(nowMs, (second, amount) => lender?.giveBack(meter, second, amount));
      if (meter.idle > 0 && nowMs - meter.lastUsedMs > IDLE_SLOTS_MS) {
        lender?.giveBack(meter, 0, meter.idle);
        meter.idle = 0;
      }
      if (meter.held(nowMs) === 0) this.#borrowing.delete(meter);
    }
    this.#book.sweep(nowMs, this.#second());
  }

  /** Who lends has changed: other processes came or went, or Redis did. The new lenders learn what is under way here. */
  lendersChanged(keepLots: boolean): void {
    const { region } = this.#options;
    for (const meter of this.#book.meters()) {
      if (region !== null && !keepLots) {
        if (region.trusted) meter.capUntilMs = 0;
        else this.#capOf(meter, region);
      }
      if (!keepLots) meter.expire(Number.POSITIVE_INFINITY, () => {});
      meter.remaining = null;
      meter.emptyUntilMs = 0;
      if (meter.kind !== 'slots') continue;
      const lender = this.#lenderOf(meter);
      if (lender === meter.slotLender) continue;
      meter.slotLender = lender;
      meter.idle = 0;
      if (meter.inUse > 0) lender?.claim(meter, meter.inUse);
    }
  }

  // -- Alone ----------------------------------------------------------------------------------------------------------------

  #admitAlone(subjects: readonly LimitedSubject[], estimate: TokenEstimate, failing: boolean): Permit | Refusal {
    const book = this.#book;
    const nowMs = this.#options.monotonicMs();
    const second = Math.floor(nowMs / 1_000);
    const found: SubjectMeters[] = [];
    for (const subject of subjects) {
      const meters = book.of(subject.descriptor, subject.id);
      found.push(meters);
      const { maxParallelRequests, rpm, tpm } = subject;
      if (failing || subject.type !== 'dynamic') {
        if (rpm !== null && book.meter(meters, 'requests').window.sumAt(second) + 1 > this.#limitHere(rpm, subject))
          return this.#refusalAlone(subject, 'requests', rpm, 1, second);
        if (tpm !== null) {
          const limit = this.#limitHere(tpm, subject);
          const reserved = reservedTokens(estimate, limit);
          if (book.meter(meters, 'tokens').window.sumAt(second) + reserved > limit)
            return this.#refusalAlone(subject, 'tokens', tpm, reserved, second);
        }
      }
      if (
        maxParallelRequests !== null &&
        book.meter(meters, 'slots').inUse >= this.#limitHere(maxParallelRequests, subject)
      )
        return this.#refusalAlone(subject, 'max_parallel_requests', maxParallelRequests, 1, second);
    }
    for (let index = 0; index < found.length; index++) {
      const subject = subjects[index]!;
      const meters = found[index]!;
      // The check has made the meters, but for limits that are only counted.
      if (subject.rpm !== null) this.#count(book.meter(meters, 'requests'), second, 1, nowMs);
      if (subject.tpm !== null) {
        const reserved = reservedTokens(estimate, this.#limitHere(subject.tpm, subject));
        this.#count(book.meter(meters, 'tokens'), second, reserved, nowMs);
      }
      if (subject.maxParallelRequests !== null) book.meter(meters, 'slots').inUse++;
    }
    return new Permit(subjects, second, estimate, null, found);
  }

  #count(meter: Meter, second: number, amount: number, nowMs: number): void {
    meter.window.sumAt(second);
    meter.window.add(second, amount);
    meter.lastUsedMs = nowMs;
  }

  #refusalAlone(
    subject: LimitedSubject,
    quantity: LimitedQuantity,
    limit: number,
    amount: number,
    second: number,
  ): Refusal {
    const here = this.#limitHere(limit, subject);
    const meters = this.#book.of(subject.descriptor, subject.id);
    const kind = KINDS[quantity];
    const { window } = this.#book.meter(meters, kind);
    const used = kind === 'slots' ? here : window.sumAt(second);
    const resetSeconds = kind === 'slots' ? 1 : Math.max(1, window.secondsUntilFree(second, amount, here));
    return { subject, quantity, limit, remaining: Math.max(0, here - used), resetSeconds };
  }

  #settleAlone({ subjects, second, estimate, meters: found }: Permit, usedTokens: number): void {
    const current = this.#second();
    for (let index = 0; index < found.length; index++) {
      const subject = subjects[index]!;
      const meters = found[index]!;
      if (subject.tpm !== null && meters.tokens !== null) {
        const reserved = reservedTokens(estimate, this.#limitHere(subject.tpm, subject));
        correct(meters.tokens, second, current, Math.round(usedTokens) - reserved);
      }
      if (subject.maxParallelRequests !== null && meters.slots !== null && meters.slots.inUse > 0) meters.slots.inUse--;
    }
  }

  // -- With lenders ---------------------------------------------------------------------------------------------------------

  #needs(
    subjects: readonly LimitedSubject[],
    estimate: TokenEstimate,
    failing: boolean,
    withoutRegion = false,
  ): Need[] {
    const needs: Need[] = [];
    const nowMs = this.#options.monotonicMs();
    for (const subject of subjects) {
      const meters = this.#book.of(subject.descriptor, subject.id);
      const enforced = failing || subject.type !== 'dynamic';
      const add = (quantity: LimitedQuantity, limit: number | null, isEnforced: boolean): void => {
        if (limit === null) return;
        const meter = this.#book.meter(meters, KINDS[quantity]);
        // It must not be dropped while its lender is asked.
        meter.lastUsedMs = nowMs;
        let here = this.#limitHere(limit, subject, withoutRegion);
        const { region } = this.#options;
        if (region !== null && (withoutRegion || !region.trusted)) here = Math.min(here, this.#capOf(meter, region));
        const amount = quantity === 'tokens' ? reservedTokens(estimate, here) : 1;
        const lender = this.#lenderOf(meter, withoutRegion);
        needs.push({ subject, quantity, meter, limit: here, amount, enforced: isEnforced, lender });
      };
      add('requests', subject.rpm, enforced);
      add('tokens', subject.tpm, enforced);
      add('max_parallel_requests', subject.maxParallelRequests, true);
    }
    return needs;
  }

  #admitBorrowing(
    subjects: readonly LimitedSubject[],
    estimate: TokenEstimate,
    failing: boolean,
    onDecision: OnDecision,
    withoutRegion: boolean,
  ): Permit | Refusal | null {
    const nowMs = this.#options.monotonicMs();
    const needs = this.#needs(subjects, estimate, failing, withoutRegion);
    const lacking = needs.filter((need) => need.enforced && !this.#has(need, nowMs));
    if (lacking.length === 0) return this.#take(needs, subjects, estimate, nowMs);
    // What is known to be used up here is not worth a question.
    const refused = lacking.find(
      ({ lender, meter, amount }) => lender === null || (meter.emptyUntilMs > nowMs && (meter.remaining ?? 0) < amount),
    );
    if (refused !== undefined) return this.#refusal(refused, nowMs);
    const { region } = this.#options;
    const asksRegion = lacking.some(({ lender }) => lender === region);
    this.#askAll(lacking, (answered) => {
      const decidedMs = this.#options.monotonicMs();
      const still = needs.find((need) => need.enforced && !this.#has(need, decidedMs));
      if (still === undefined) onDecision(this.#take(needs, subjects, estimate, decidedMs));
      else if (region !== null && asksRegion && (!answered || !region.trusted)) {
        // Redis did not say no, it said nothing: the share of this instance decides.
        const decision = this.#admitBorrowing(subjects, estimate, failing, onDecision, true);
        if (decision !== null) onDecision(decision);
      } else onDecision(this.#refusal(still, decidedMs));
    });
    return null;
  }

  #askAll(lacking: readonly Need[], decide: (answered: boolean) => void): void {
    let open = lacking.length;
    let decided = false;
    const once = (): void => {
      if (decided) return;
      decided = true;
      cancel();
      decide(open === 0);
    };
    const waitMs = Math.max(...lacking.map(({ lender }) => lender!.waitMs));
    const cancel = this.#options.setTimer(() => {
      this.counts.unanswered++;
      once();
    }, waitMs);
    for (const need of lacking) {
      this.#ask(need, need.amount, () => {
        open--;
        if (open === 0) once();
      });
    }
  }

  #ask({ limit, lender, meter, amount }: Need, need: number, done: () => void): void {
    this.counts.asked++;
    const sentMs = this.#options.monotonicMs();
    const want = Math.max(need, meter.block, meter.kind === 'tokens' ? amount : 1);
    lender!.ask({ meter, limit, need, want }, (loan: Loan) => {
      this.#receive(meter, lender!, loan, sentMs);
      done();
    });
  }

  #receive(meter: Meter, lender: Lender, loan: Loan, sentMs: number): void {
    meter.remaining = loan.remaining;
    meter.resetSeconds = loan.resetSeconds;
    if (loan.granted <= 0) {
      meter.emptyUntilMs = this.#options.monotonicMs() + EMPTY_MS;
      return;
    }
    meter.emptyUntilMs = 0;
    const isCurrent = this.#lenderOf(meter) === lender;
    if (meter.kind === 'slots') {
      // The lender has been replaced meanwhile, and the new one was told what is under way.
      if (!isCurrent) {
        lender.giveBack(meter, 0, loan.granted);
        return;
      }
      meter.slotLender = lender;
      meter.idle += loan.granted;
      meter.lastUsedMs = this.#options.monotonicMs();
    } else if (isCurrent || lender !== this.#options.region)
      meter.addLot(loan.granted, loan.second, sentMs + AHEAD_SECONDS * 1_000);
    this.#borrowing.add(meter);
  }

  #has({ limit, lender, meter, amount }: Need, nowMs: number): boolean {
    if (lender !== null) return meter.held(nowMs) >= amount;
    if (meter.kind === 'slots') return meter.inUse + meter.lentCount < limit;
    return meter.window.sumAt(Math.floor(nowMs / 1_000)) + amount <= limit;
  }

  #take(needs: readonly Need[], subjects: readonly LimitedSubject[], estimate: TokenEstimate, nowMs: number): Permit {
    const second = Math.floor(nowMs / 1_000);
    const charges = needs.map((need) => {
      const { meter, lender, amount } = need;
      let chargedIn = second;
      if (meter.kind === 'slots') {
        meter.inUse++;
        if (lender !== null) meter.idle--;
        meter.slotLender = lender;
        meter.lastUsedMs = nowMs;
        const { region } = this.#options;
        if (region?.trusted === true && lender !== region) region.claim(meter, meter.inUse + meter.idle);
      } else if (lender === null) this.#countHere(meter, second, amount, nowMs);
      else if (meter.held(nowMs) >= amount) chargedIn = meter.use(amount, nowMs);
      else {
        // A limit that is counted and not in force.
        lender.charge(meter, amount);
        chargedIn = 0;
      }
      meter.noteUse(amount, nowMs);
      if (meter.kind !== 'slots') this.#mirror(meter, lender, second, amount);
      if (lender !== null) this.#borrowAhead(need, nowMs);
      return { meter, lender, second: chargedIn, reserved: amount };
    });
    return new Permit(subjects, second, estimate, charges, []);
  }

  #countHere(meter: Meter, second: number, amount: number, nowMs: number): void {
    this.#count(meter, second, amount, nowMs);
    this.#options.instance?.noteChange(meter);
  }

  /** Whoever would have to decide if the lender of now went away keeps count too. */
  #mirror(meter: Meter, lender: Lender | null, second: number, amount: number): void {
    const { region, instance } = this.#options;
    if (region === null) return;
    if (lender !== region) region.charge(meter, amount);
    else {
      const owner = instance?.lenderOf(meter) ?? null;
      if (owner === null) {
        meter.window.sumAt(second);
        meter.window.add(second, amount);
        instance?.noteChange(meter);
      } else owner.charge(meter, amount);
    }
  }

  #borrowAhead(need: Need, nowMs: number): void {
    const { meter } = need;
    if (meter.askingUntilMs > nowMs || meter.emptyUntilMs > nowMs || meter.held(nowMs) >= meter.block) return;
    // Near the limit a call asks for itself: what lies idle here would be missing elsewhere.
    if (meter.kind === 'slots' || (meter.remaining !== null && meter.remaining <= meter.block)) return;
    // An answer may never come.
    meter.askingUntilMs = nowMs + AHEAD_SECONDS * 1_000;
    this.#ask(need, 0, () => {
      meter.askingUntilMs = 0;
    });
  }

  #refusal({ subject, quantity, meter, limit, amount, lender }: Need, nowMs: number): Refusal {
    const full =
      quantity === 'requests' ? subject.rpm : quantity === 'tokens' ? subject.tpm : subject.maxParallelRequests;
    const facts = { subject, quantity, limit: full ?? limit };
    if (lender !== null) {
      // Something is left, but the lender did not say so in time: worth another try soon.
      const remaining = meter.remaining ?? 0;
      return { ...facts, remaining, resetSeconds: remaining < amount ? Math.max(1, meter.resetSeconds) : 1 };
    }
    if (meter.kind === 'slots') return { ...facts, remaining: 0, resetSeconds: 1 };
    const second = Math.floor(nowMs / 1_000);
    const remaining = Math.max(0, limit - meter.window.sumAt(second));
    return { ...facts, remaining, resetSeconds: Math.max(1, meter.window.secondsUntilFree(second, amount, limit)) };
  }

  #settleBorrowed({ charges }: Permit, usedTokens: number): void {
    const current = this.#second();
    for (const { meter, lender: lenderThen, second, reserved } of charges!) {
      const lender = this.#lenderOf(meter);
      if (meter.kind === 'slots') {
        this.#releaseSlot(meter, lender);
        continue;
      }
      if (meter.kind !== 'tokens') continue;
      const difference = Math.round(usedTokens) - reserved;
      const { region, instance } = this.#options;
      if (difference > 0) {
        if (lender !== null) lender.charge(meter, difference);
        else this.#countHere(meter, current, difference, this.#options.monotonicMs());
        this.#mirror(meter, lender, current, difference);
      } else if (difference < 0 && second > 0 && (lender === region) === (lenderThen === region)) {
        // Redis counts in seconds of its own, so only who lent takes back.
        if (lender !== null) lender.giveBack(meter, second, -difference);
        else {
          correct(meter, second, current, difference);
          instance?.noteChange(meter);
        }
      }
    }
  }

  #releaseSlot(meter: Meter, lender: Lender | null): void {
    if (meter.inUse > 0) meter.inUse--;
    if (lender === null) return;
    // Kept for the next call, unless somebody else may need it sooner.
    if (meter.idle > 0 || (meter.remaining ?? 0) <= meter.inUse + 1) lender.giveBack(meter, 0, 1);
    else {
      meter.idle++;
      this.#borrowing.add(meter);
    }
  }

  // -- Both -----------------------------------------------------------------------------------------------------------------

  #lenderOf(meter: Meter, withoutRegion = false): Lender | null {
    const { instance, region } = this.#options;
    if (region?.trusted === true && !withoutRegion) return region;
    return instance?.lenderOf(meter) ?? null;
  }

  #limitHere(limit: number, { scope }: LimitedSubject, withoutRegion = false): number {
    const { region, regions } = this.#options;
    let here = limit;
    if (scope === 'global') here = shareOf(here, regions());
    if (region !== null && (withoutRegion || !region.trusted)) here = shareOf(here, region.liveInstances);
    return here;
  }

  /**
   * For one window after Redis was lost: what was used here, and a share of what was left for all. So those who have used more than their share of the
   * limit shrink to it before the others grow to theirs.
   */
  #capOf(meter: Meter, region: RegionLender): number {
    if (meter.kind === 'slots') return Number.POSITIVE_INFINITY;
    const nowMs = this.#options.monotonicMs();
    if (meter.capUntilMs !== 0 && nowMs > meter.capUntilMs && region.trusted) meter.capUntilMs = 0;
    if (meter.capUntilMs === 0) {
      meter.capUntilMs = nowMs + (this.#book.windowSeconds + 1 + AHEAD_SECONDS) * 1_000;
      meter.cap =
        meter.remaining === null
          ? Number.POSITIVE_INFINITY
          : meter.window.sumAt(this.#second()) + Math.floor(meter.remaining / region.liveInstances);
    }
    return nowMs < meter.capUntilMs ? meter.cap : Number.POSITIVE_INFINITY;
  }

  #second(): number {
    return Math.floor(this.#options.monotonicMs() / 1_000);
  }
}

const KINDS: Readonly<Record<LimitedQuantity, MeterKind>> = {
  requests: 'requests',
  tokens: 'tokens',
  max_parallel_requests: 'slots',
};

/** Rounded down, so that the shares are not more than the whole; but nobody is shut out by a limit that is smaller than the number of sharers. */
function shareOf(limit: number, sharers: number): number {
  return sharers <= 1 || limit <= 0 ? limit : Math.max(1, Math.floor(limit / sharers));
}

/** Reserved and not used: taken out where it was counted, if it still is. Used and not reserved: counted now. */
function correct(meter: Meter, second: number, current: number, difference: number): void {
  meter.window.sumAt(current);
  if (difference !== 0) meter.window.add(difference > 0 ? current : second, difference);
}
