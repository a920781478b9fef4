import type { MemberName } from './schedule.ts';

/** What a disturbance may do to a member: `cut` takes its knowledge away, `broken` its connections as well. */
export type Effect = 'cut' | 'broken';

interface Disturbance {
  readonly member: MemberName;
  readonly effect: Effect;
  readonly fromMs: number;
  toMs: number;
  readonly line: string;
}

/** After a disturbance has ended, it may be felt for this long: connections are made anew, with back-off. */
export const RECOVERY_MS = 8_000;

/** Who was disturbed when, by which line of the schedule. */
export class Disturbances {
  readonly #all: Disturbance[] = [];

  /** Call the answer when it has ended. */
  begin(members: readonly MemberName[], effect: Effect, line: string, fromMs: number): (toMs: number) => void {
    const begun = members.map((member) => ({ member, effect, fromMs, toMs: Number.POSITIVE_INFINITY, line }));
    this.#all.push(...begun);
    return (toMs) => {
      for (const disturbance of begun) disturbance.toMs = toMs;
    };
  }

  /** Nothing has disturbed this member between these times, nor so shortly before that it may still be felt. */
  isCalm(member: MemberName, fromMs: number, toMs: number): boolean {
    return !this.#all.some((one) => one.member === member && one.fromMs <= toMs && one.toMs + RECOVERY_MS >= fromMs);
  }

  /** A connection that was open then may have been cut, or found nobody. */
  mayBreak(member: MemberName, fromMs: number, toMs: number): boolean {
    return this.#all.some(
      (one) =>
        one.member === member && one.effect === 'broken' && one.fromMs <= toMs && one.toMs + RECOVERY_MS / 4 >= fromMs,
    );
  }

  /** Lines of the schedule that were under way then, or just before. */
  linesAt(atMs: number): string[] {
    const lines = this.#all.filter(({ fromMs, toMs }) => fromMs <= atMs && toMs + RECOVERY_MS >= atMs);
    return [...new Set(lines.map(({ line }) => line))];
  }
}
