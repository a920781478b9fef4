import './lib/node-version.mjs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt, ensureInstalled, root } from './lib/prepare.mjs';

// `npm start [-- arguments]`: from a fresh clone to a serving gateway.
ensureInstalled();
ensureBuilt();

// In this process: signals and the exit code are then those of the gateway, with nothing to forward.
const program = join(root, 'dist', 'cli', 'main.js');
process.argv = [process.argv[0], program, 'serve', ...process.argv.slice(2)];
await import(pathToFileURL(program).href);
