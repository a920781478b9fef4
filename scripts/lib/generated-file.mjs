import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root } from './prepare.mjs';

/** Writes a file that is generated and committed; with `--check` only says whether the committed one is the same. */
export function generatedFile(path, content, command) {
  const absolute = join(root, path);
  const present = existsSync(absolute) ? readFileSync(absolute, 'utf8') : null;
  if (present === content) return;
  if (process.argv.includes('--check')) fail(`${path} is stale; run: ${command}`);
  writeFileSync(absolute, content);
  process.stderr.write(`${path} written\n`);
}
