import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CliContext } from '../context.ts';
import { createDemoFleet, type DemoFleet } from '../demo/demo-fleet.ts';
import { runTour, TourFailure } from '../demo/tour.ts';
import { RESTART_BEHIND_MS, RESTART_WORKER_MS, tourText } from '../demo/tour-text.ts';

export interface DemoOptions {
  /** Makes the tour itself and ends. */
  readonly run?: boolean;
  /** Kept. Absent: a temporary one, removed at the end. */
  readonly dir?: string;
}

/** An admin, two regions and their database on this machine. 0: ended by Ctrl-C, or every step of the tour was as it says. */
export async function runDemo({ dir: given, run }: DemoOptions, { cwd, env, err, out }: CliContext): Promise<number> {
  const dir = given === undefined ? mkdtempSync(join(tmpdir(), 'claviger-demo-')) : resolve(cwd, given);
  mkdirSync(dir, { recursive: true });
  // The account of the embedded PostgreSQL has to pass when we are root.
  chmodSync(dir, 0o711);
  const interrupted = interruption();
  let fleet: DemoFleet | null = null;
  let failed = false;
  try {
    fleet = await createDemoFleet(dir, env);
    out('Starting a database, an admin and two regions ...\n');
    const started = fleet.start();
    started.catch(() => undefined);
    await Promise.race([started, interrupted.promise]);
    if (interrupted.happened()) return 0;
    if (run !== true) {
      out(tourText(fleet));
      keepRunning(fleet, interrupted.happened, out);
      await interrupted.promise;
      return 0;
    }
    const tour = runTour(fleet, (text) => out(`${text}\n`));
    tour.catch(() => undefined);
    await Promise.race([tour, interrupted.promise]);
    if (interrupted.happened()) return 1;
    out('Everything was as it should be.\n');
    return 0;
  } catch (error) {
    failed = true;
    if (!(error instanceof TourFailure)) throw error;
    err(`claviger: The demo stopped: ${error.message}. The logs are in ${dir}.\n`);
    return 1;
  } finally {
    await fleet?.stop();
    interrupted.end();
    if (given === undefined && !failed) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Starts again what somebody else has ended, a little later. */
function keepRunning({ admin, database, regions }: DemoFleet, ended: () => boolean, out: CliContext['out']): void {
  const parts = [
    { part: database, name: 'database', afterMs: RESTART_BEHIND_MS },
    { part: admin, name: admin.name, afterMs: RESTART_BEHIND_MS },
    { part: regions.eu, name: regions.eu.name, afterMs: RESTART_WORKER_MS },
    { part: regions.us, name: regions.us.name, afterMs: RESTART_WORKER_MS },
  ];
  for (const { afterMs, name, part } of parts) {
    void (async () => {
      for (;;) {
        await part.exited;
        if (ended() || !part.isWanted) return;
        out(`The ${name} has ended; it is started again in ${afterMs / 1_000} s.\n`);
        await delay(afterMs);
        if (ended()) return;
        await part.start().then(
          () => out(`The ${name} runs again (${part.pid}).\n`),
          (error: Error) => out(`${error.message}\n`),
        );
      }
    })();
  }
}

function interruption() {
  let happened = false;
  let interrupt: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => {
    interrupt = () => {
      happened = true;
      resolve();
    };
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  return {
    promise,
    happened: () => happened,
    end: () => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt);
    },
  };
}
