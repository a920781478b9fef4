import { join } from 'node:path';
import { cachedPackage } from './cached-package.ts';
import { postgresBinaries } from './postgres-binaries.ts';
import { MissingRequirement, provideProgram, requirements } from './requirements.ts';
import { unprivilegedAccount } from './unprivileged-account.ts';

/** One run of Vitest: which Node, which database, which files. */
export interface TestLeg {
  readonly name: string;
  /** Parts of file names; empty: all files. */
  readonly files: readonly string[];
  /** Environment that makes the leg what it is. Throws `MissingRequirement` when this machine can not run it. */
  readonly prepare: () => { readonly node: string; readonly env: Readonly<Record<string, string>> };
}

/** Newest release of each supported line. */
const nodeVersions = ['20.20.2', '22.23.3', '24.21.0'];

/** Where the version of Node matters: HTTP, streams, sockets, signals, worker processes. */
const filesOfNode = [
  'src/gateway/',
  'src/process/',
  'src/main',
  'tests/gateway/',
  'tests/conformance/',
  'tests/fleet/',
];

/** Where the version of PostgreSQL, or a pool before it, matters. */
const filesOfPostgres = ['.pg.test.ts', 'src/control/', 'src/storage/'];

export function testLegs(long: boolean): readonly TestLeg[] {
  const length = { CLAVIGER_TEST_LENGTH: long ? 'long' : 'short' };
  const main: TestLeg = {
    name: `Node ${process.versions.node}, PostgreSQL 18`,
    files: [],
    prepare: () => ({ node: process.execPath, env: length }),
  };
  if (!long) return [main];
  const currentMajor = process.versions.node.split('.')[0];
  const otherNodes = nodeVersions.filter((version) => version.split('.')[0] !== currentMajor);
  return [
    main,
    ...otherNodes.map((version) => ({
      name: `Node ${version}`,
      files: filesOfNode,
      prepare: () => ({ node: nodeProgram(version), env: {} }),
    })),
    {
      name: 'PostgreSQL 14',
      files: filesOfPostgres,
      prepare: () => {
        orMissing('PostgreSQL 14', () => postgresBinaries('14', unprivilegedAccount()));
        return { node: process.execPath, env: { CLAVIGER_TEST_PG_MAJOR: '14' } };
      },
    },
    {
      name: 'PostgreSQL 18 through PgBouncer',
      files: filesOfPostgres,
      prepare: () => ({
        node: process.execPath,
        env: { [requirements.pgbouncer.variable]: provideProgram(requirements.pgbouncer) },
      }),
    },
  ];
}

function nodeProgram(version: string): string {
  const name = `node-${process.platform}-${process.arch}`;
  return orMissing(`Node ${version}`, () => join(cachedPackage(name, version), 'bin', 'node'));
}

/** What npm does not bring here, for want of a network or of a package for this platform, is a missing requirement. */
function orMissing<T>(what: string, provide: () => T): T {
  try {
    return provide();
  } catch (error) {
    throw new MissingRequirement(`${what} could not be installed from npm: ${String(error)}`);
  }
}
