/** After a failure a model group counts as failing for so long. */
export const FAILING_MS = 10_000;
/** Groups that are remembered; at the bound the one that was added first is forgotten. */
const GROUPS_MAX = 10_000;

/** Model groups of which a deployment has failed a moment ago: limits of type dynamic are in force for them. */
export class FailingModels {
  readonly #failedAtMs = new Map<string, number>();

  note(group: string, nowMs: number): void {
    this.#failedAtMs.delete(group);
    if (this.#failedAtMs.size >= GROUPS_MAX) this.#failedAtMs.delete(this.#failedAtMs.keys().next().value!);
    this.#failedAtMs.set(group, nowMs);
  }

  has(group: string, nowMs: number): boolean {
    const failedAtMs = this.#failedAtMs.get(group);
    return failedAtMs !== undefined && nowMs - failedAtMs < FAILING_MS;
  }
}
