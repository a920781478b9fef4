import { afterAll, beforeAll } from 'vitest';
import { until } from '../support/until.ts';

/**
 * Registers a check that the tests of this `describe` leave no socket, server or timer behind. Call it first: hooks that
 * take something down have to run before it, and Vitest runs the last registered one first.
 */
export function leavesNothingOpen(): void {
  let before: Counts;
  beforeAll(() => {
    before = countResources();
  });
  afterAll(async () => {
    let now = before;
    const gone = (): true | null => {
      now = countResources();
      return WATCHED.every((type) => (now[type] ?? 0) <= (before[type] ?? 0)) ? true : null;
    };
    await until('nothing is left open', gone, 10_000).catch(() => {
      throw new Error(`left open: ${JSON.stringify(now)}; before: ${JSON.stringify(before)}`);
    });
  });
}

type Counts = Readonly<Record<string, number>>;

const WATCHED = ['TCPSocketWrap', 'TCPServerWrap', 'Timeout', 'Immediate'] as const;

function countResources(): Counts {
  const counts: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}
