import { defineConfig } from 'vitest/config';

/** A net under tests that hang. How fast something is, is a matter of `npm run bench`, and never of these. */
const isLong = process.env.CLAVIGER_TEST_LENGTH === 'long';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    globalSetup: ['tests/support/global-setup.ts'],
    testTimeout: isLong ? 180_000 : 60_000,
    hookTimeout: isLong ? 180_000 : 90_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
