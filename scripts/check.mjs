import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureInstalled, root } from './lib/prepare.mjs';

// `npm run check`: what can be said about the code without running it. All checks run, also after one has failed.
ensureInstalled();
const program = (...path) => join(root, 'node_modules', ...path);
const checks = [
  [
    'lint, format, order of imports',
    [program('@biomejs', 'biome', 'bin', 'biome'), 'check', '--error-on-warnings', '.'],
  ],
  ['types', [program('typescript', 'bin', 'tsc'), '--noEmit', '-p', 'tsconfig.json']],
  ['software bill of materials', [join(root, 'scripts', 'sbom.mjs'), '--check']],
  ['third-party notices', [join(root, 'scripts', 'notices.mjs'), '--check']],
];

const failed = checks.filter(([name, command]) => {
  const result = spawnSync(process.execPath, command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  process.stdout.write(`${result.status === 0 ? 'ok' : 'FAILED'}: ${name}\n`);
  return result.status !== 0;
});
process.exitCode = failed.length === 0 ? 0 : 1;
