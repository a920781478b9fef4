import { readFileSync } from 'node:fs';

/** Imported first by the commands, and written so that an old Node reaches the sentence instead of a syntax error. */
const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const wanted = engines.node
  .replace(/[^0-9.]/g, '')
  .split('.')
  .map(Number);
const present = process.versions.node.split('.').map(Number);

if (present[0] < wanted[0] || (present[0] === wanted[0] && present[1] < wanted[1])) {
  process.stderr.write(
    `Claviger needs Node ${wanted.join('.')} or newer; this is Node ${process.versions.node}. See https://nodejs.org/\n`,
  );
  process.exit(1);
}
