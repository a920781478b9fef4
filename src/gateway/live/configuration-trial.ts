/**
 * Whether the models of the database are to be trusted at a start: pure decisions about what a process leaves behind while a configuration
 * is on trial, and what the next one concludes from finding it.
 *
 *   on trial   begun less than `CONFIGURATION_TRIAL_MS` ago; a file says so
 *   good       nothing crashed for that long since it came into force; kept as the one to fall back on
 *   rejected   processes ended so often while it was on trial, without saying goodbye
 */

/** A configuration is good when nothing has crashed for so long since it came, also when a newer one has come meanwhile. */
export const CONFIGURATION_TRIAL_MS = 60_000;
/** Ends of processes during a trial after which the start is made with the last good configuration. */
export const CRASHES_MAX = 2;
/** The same while nothing was ever good: what is left then is to serve nothing of the database, and a process may be killed from outside. */
export const CRASHES_WITHOUT_GOOD_MAX = 5;

/** What is on disk while a configuration is on trial, or once it was rejected. */
export interface Trial {
  /** Digest of the models of the database. Revisions say nothing here: they also count keys. */
  readonly modelsHash: string;
  /** Processes that ended in trials since a configuration was good. */
  readonly crashes: number;
  readonly rejected: boolean;
}

/** What to start with, and the trial that begins with it; null: nothing is on trial. */
export interface BootDecision {
  readonly use: 'current' | 'last good';
  readonly trial: Trial | null;
}

/** `found`: what the process before left. A process that ends properly, or whose configuration is good by then, leaves nothing. */
export function decideAtBoot(
  found: Trial | null,
  modelsHash: string,
  goodHash: string,
  crashesMax = CRASHES_MAX,
): BootDecision {
  if (modelsHash === goodHash) return { use: 'current', trial: null };
  if (found === null) return { use: 'current', trial: { modelsHash, crashes: 0, rejected: false } };
  if (found.rejected) {
    // Another one than was rejected is new, and gets its own trial.
    if (found.modelsHash !== modelsHash) return { use: 'current', trial: { modelsHash, crashes: 0, rejected: false } };
    return { use: 'last good', trial: found };
  }
  // Not only of this very configuration: where each crash finds a newer one, the fault would never be found.
  const crashes = found.crashes + 1;
  const rejected = crashes >= crashesMax;
  return { use: rejected ? 'last good' : 'current', trial: { modelsHash, crashes, rejected } };
}

/** The trial of a configuration that arrives while the process runs; null: it is the good one. */
export function trialOf(running: Trial | null, modelsHash: string, goodHash: string): Trial | null {
  if (modelsHash === goodHash) return null;
  const crashes = running === null || running.rejected ? 0 : running.crashes;
  return { modelsHash, crashes, rejected: false };
}
