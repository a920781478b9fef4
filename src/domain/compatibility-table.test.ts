import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MANAGEMENT_ROUTES } from '../contract/routes/all.ts';
import { compatibilityTable, providerTable } from './compatibility-table.ts';
import { routeTable } from './route-table.ts';

describe('the compatibility page', () => {
  const page = readFileSync(new URL('../../docs/reference/compatibility.md', import.meta.url), 'utf8');

  it('has the route table as the code has it', () => {
    expect(page).toContain(compatibilityTable());
  });

  it('has the provider table as the code has it', () => {
    expect(page).toContain(providerTable());
  });

  it('says served for exactly the management routes that the contract describes', () => {
    const served = routeTable().filter((row) => row.served && row.class === 'management');
    const inTable = served.flatMap((row) => row.methods.map((method) => `${method} ${row.path}`));
    const inContract = MANAGEMENT_ROUTES.map(({ method, path }) => `${method} ${path}`);
    expect(inTable.sort()).toEqual(inContract.sort());
  });
});
