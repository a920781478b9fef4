import { describe, expect, it } from 'vitest';
import { connectionBudget } from './connection-budget.ts';

const REPLICA = 'postgres://replica/d';

describe('an instance never holds more connections than its limit', () => {
  it.each([1, 2, 3, 4, 10, 100])('of %i, the listener included', (databaseConnectionPoolLimit) => {
    for (const role of ['standalone', 'admin', 'worker'] as const) {
      for (const readReplicaUrl of [null, REPLICA]) {
        const { pool, replica } = connectionBudget({ role, databaseConnectionPoolLimit, readReplicaUrl });
        expect(pool).toBeGreaterThan(0);
        expect(replica).toBeGreaterThanOrEqual(0);
        expect(pool + replica + 1).toBeLessThanOrEqual(Math.max(2, databaseConnectionPoolLimit));
        if (role === 'worker') expect(pool + replica + 1).toBeLessThanOrEqual(3);
      }
    }
  });
});

it('the default is ten for an admin and three for a worker', () => {
  const of = (role: 'admin' | 'worker', readReplicaUrl: string | null = null) =>
    connectionBudget({ role, databaseConnectionPoolLimit: 10, readReplicaUrl });
  expect(of('admin')).toEqual({ pool: 9, replica: 0 });
  expect(of('admin', REPLICA)).toEqual({ pool: 6, replica: 3 });
  expect(of('worker', REPLICA)).toEqual({ pool: 2, replica: 0 });
});
