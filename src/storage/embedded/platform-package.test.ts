import { describe, expect, it } from 'vitest';
import { OperatorError } from '../../util/operator-error.ts';
import { locatePlatformPackage, type PlatformLookup, thisMachine } from './platform-package.ts';

const missing = () => {
  throw new Error('Cannot find module');
};
const problem = (change: Partial<PlatformLookup>): string => {
  try {
    locatePlatformPackage({ ...thisMachine, platform: 'linux', arch: 'x64', loader: null, ...change });
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError);
    return (error as Error).message;
  }
  return '';
};

describe('the package with PostgreSQL', () => {
  it('is found on this machine, with the major version that names the database directory', () => {
    const found = locatePlatformPackage();
    expect(found.version).toMatch(/^\d+\.\d+/);
    expect(found.version.startsWith(`${found.major}.`)).toBe(true);
  });

  it.each([
    ['Windows', { platform: 'win32' }, 'WSL 2'],
    ['a processor without binaries', { arch: 'riscv64' }, 'riscv64'],
    ['another C library', { loader: '/no/such/loader' }, 'glibc'],
    ['an installation without optional packages', { resolve: missing }, '--include=optional'],
  ])('is missing on %s, and the sentence names DATABASE_URL', (_where, change, word) => {
    expect(problem(change)).toContain('DATABASE_URL');
    expect(problem(change)).toContain(word);
  });
});
