import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A gateway process of this data directory has what it needs to serve on its own. */
export function hasSnapshots(dataDir: string): boolean {
  return namesIn(dataDir)
    .filter((name) => /^gateway-\d+$/.test(name))
    .some((name) => namesIn(join(dataDir, name)).some((file) => file.endsWith('.snap')));
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
