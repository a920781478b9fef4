import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program that some tests need and npm does not bring. */
export interface Requirement {
  /** Variable that carries the path of the program to the tests; when set beforehand, it is believed. */
  readonly variable: string;
  /** Names under which the program is known, the first one found is taken. */
  readonly programs: readonly string[];
  readonly debianPackage: string;
}

export const requirements = {
  curl: { variable: 'CLAVIGER_TEST_CURL', programs: ['curl'], debianPackage: 'curl' },
  redis: {
    variable: 'CLAVIGER_TEST_REDIS',
    programs: ['redis-server', 'valkey-server'],
    debianPackage: 'redis-server',
  },
  pgbouncer: { variable: 'CLAVIGER_TEST_PGBOUNCER', programs: ['pgbouncer'], debianPackage: 'pgbouncer' },
} as const satisfies Readonly<Record<string, Requirement>>;

/** The sentence says what to install. */
export class MissingRequirement extends Error {}

/** The path of the program: found on the machine, or installed with apt-get where that is possible. */
export function provideProgram(requirement: Requirement, env: NodeJS.ProcessEnv = process.env): string {
  const given = env[requirement.variable];
  if (given) return given;
  const found = find(requirement.programs, env);
  if (found !== null) return found;
  if (process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    aptInstall(requirement.debianPackage);
    const installed = find(requirement.programs, env);
    if (installed !== null) return installed;
  }
  throw new MissingRequirement(
    `${requirement.programs.join(' or ')} is not installed; on Debian: apt-get install ${requirement.debianPackage}; ` +
      `elsewhere set ${requirement.variable} to its path`,
  );
}

function find(programs: readonly string[], env: NodeJS.ProcessEnv): string | null {
  // Servers live in sbin, which is not on everybody's PATH.
  const directories = [
    ...(env['PATH'] ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
    '/usr/local/bin',
  ];
  for (const program of programs) {
    for (const directory of directories.filter((entry) => entry !== '')) {
      const path = join(directory, program);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  return null;
}

/** Two test files may each need a program at the same time, and apt lets in one at a time. */
const APT_LOCK_WAIT_S = 200;

function aptInstall(name: string): void {
  process.stderr.write(`Installing ${name} with apt-get ...\n`);
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'ignore'] as ['ignore', 'ignore', 'ignore'],
    timeout: 300_000,
  };
  const install = () =>
    spawnSync(
      'apt-get',
      ['-o', `DPkg::Lock::Timeout=${APT_LOCK_WAIT_S}`, 'install', '-y', '--no-install-recommends', name],
      options,
    ).status === 0;
  // Package lists of an image may be missing or too old to name a file that still exists.
  if (!install()) {
    spawnSync('apt-get', ['update'], options);
    install();
  }
}
