/**
 * Measures Claviger beside other relays: all candidates are up at once, each on the same core, and take turns in slices of
 * a few seconds, so that what disturbs the machine disturbs all of them. See docs/reference/performance.md.
 */
import { fork, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createCertificateAuthority } from '../../tests/support/tls.ts';
import { BUSY_CONNECTIONS, busySlice, rateSlice, verify } from './measure.mjs';
import { readOptions, USAGE } from './options.mjs';
import { markdownReport, putBetweenMarkers } from './report.mjs';
import { findOnPath } from './start-candidate.mjs';
import { startUpSamples } from './start-up.mjs';
import { countable, median } from './statistics.mjs';
import { targets } from './targets.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Before the first round, per candidate and case: the optimising compiler gets to work. */
const WARM_UP_SECONDS = 1.5;
/** The fixed rate is half of what the candidate could do in this run, but enough to have a p99. */
const RATE_OF_CAPACITY = 0.5;
const RATE_MIN = 50;
const START_REPETITIONS = 3;

let options;
try {
  options = readOptions(process.argv.slice(2));
  if (options.help) console.log(USAGE);
  else await main();
} catch (error) {
  say(error.message);
  process.exitCode = 1;
}
// What a failed start left running would keep this process alive; it is killed at the exit.
process.exit();

async function main() {
  const dir = mkdtempSync(join(tmpdir(), 'claviger-bench-'));
  // An embedded database started by root runs as another account, which must get through.
  chmodSync(dir, 0o711);
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

  const machine = describeMachine();
  const authority = await createCertificateAuthority('Claviger bench CA');
  const upstream = await startUpstream(authority, machine.cores.upstream);
  const skipped = [];
  const candidates = [];
  let result;
  try {
    await startCandidates({ upstream, dir, machine, skipped, candidates });
    const cases = [];
    for (const test of candidates.length === 0 ? [] : options.cases) {
      cases.push(await runCase(test, await able(test, candidates, skipped), machine));
    }
    for (const candidate of candidates.splice(0)) await candidate.stop();
    const start = await startUp(dir, skipped);
    result = { at: new Date().toISOString(), machine, options: publicOptions(), skipped, cases, start };
  } finally {
    for (const candidate of candidates) await candidate.stop();
    upstream.stop();
    await authority.remove();
  }
  result.targets = targets(result);
  publish(result);
}

async function startCandidates({ upstream, dir, machine, skipped, candidates }) {
  if (!options.modes.some((mode) => mode !== 'start')) return;
  for (const name of options.candidates) {
    const module = await import(`./candidates/${name}.mjs`);
    const why = module.missing({ root: ROOT });
    if (why !== null) {
      if (options.candidatesNamed) throw new Error(`The candidate ${name} can not run: ${why}.`);
      skipped.push({ name, why });
      continue;
    }
    say(`starting ${name}`);
    const context = { upstream, core: machine.cores.candidate, dir, root: ROOT };
    candidates.push({ name, title: module.title, ...(await module.start(context)) });
  }
}

/** Those that answer the case. One of the peers may fail at it, which is reported; ours and the anchor may not. */
async function able(test, candidates, skipped) {
  const list = [];
  for (const candidate of candidates) {
    try {
      if (candidate.name !== 'direct') await verify(candidate, test);
      list.push(candidate);
    } catch (error) {
      if (['anchor', 'claviger'].includes(candidate.name)) throw error;
      skipped.push({ name: `${candidate.name} in ${test.name}`, why: error.message.slice(0, 160) });
    }
  }
  return list;
}

async function runCase(test, candidates, machine) {
  // The direct call is always in clear, and it is the zero of latencies, not a relay to compare CPU with.
  const relays = candidates.filter((candidate) => candidate.name !== 'direct');
  const core = machine.cores.candidate;
  const figures = {
    name: test.name,
    title: test.title,
    stream: test.stream,
    busy: {},
    single: {},
    rate: {},
    repeated: [],
  };
  for (const candidate of relays) {
    await attempted((one) => busySlice(one, test, WARM_UP_SECONDS, core), candidate, test, figures.repeated);
  }
  const rounds = async (into, contestants, slice) => {
    for (const candidate of contestants) into[candidate.name] = [];
    for (let round = 0; round < options.rounds; round++) {
      say(`${test.name}: round ${round + 1} of ${options.rounds}, ${nameOfMode(into, figures)}`);
      for (let i = 0; i < contestants.length; i++) {
        const candidate = contestants[(i + round) % contestants.length];
        into[candidate.name].push(await attempted(slice, candidate, test, figures.repeated));
      }
    }
  };
  const needsCapacity = options.modes.includes('rate');
  if (options.modes.includes('busy') || needsCapacity) {
    await rounds(figures.busy, relays, (candidate) => busySlice(candidate, test, options.seconds, core));
  }
  if (options.modes.includes('single')) {
    await rounds(figures.single, candidates, (candidate) => busySlice(candidate, test, options.seconds / 2, core, 1));
  }
  if (needsCapacity) {
    const half = (name) =>
      Math.max(RATE_MIN, Math.round(RATE_OF_CAPACITY * median(countable(figures.busy[name]).map((s) => s.perSecond))));
    const rates = Object.fromEntries(relays.map((candidate) => [candidate.name, half(candidate.name)]));
    rates.direct = rates.anchor ?? Math.max(...Object.values(rates));
    await rounds(figures.rate, candidates, (candidate) =>
      rateSlice(candidate, test, options.seconds, rates[candidate.name]),
    );
  }
  return figures;
}

/** A slice may fail once, when the machine stood still; that is reported. The same slice failing again ends the run. */
async function attempted(slice, candidate, test, repeated) {
  try {
    return await slice(candidate);
  } catch (error) {
    say(`${candidate.name} failed in ${test.name} and tries again: ${error.message}`);
    repeated.push(`${candidate.name} in ${test.name}: ${error.message}`);
  }
  try {
    return await slice(candidate);
  } catch (error) {
    throw new Error(`${candidate.name} failed twice in ${test.name}: ${error.message}\n${candidate.logText()}`);
  }
}

async function startUp(dir, skipped) {
  if (!options.modes.includes('start') || !options.candidates.includes('claviger')) return null;
  const { missing } = await import('./candidates/claviger.mjs');
  const why = missing({ root: ROOT });
  if (why !== null) {
    if (!skipped.some((entry) => entry.name === 'claviger')) skipped.push({ name: 'claviger', why });
    return null;
  }
  say('start-up and idle memory');
  return startUpSamples({ root: ROOT, dir, repetitions: START_REPETITIONS });
}

function startUpstream(authority, core) {
  return new Promise((resolve, reject) => {
    authority.serverCertificate().then(({ cert, key }) => {
      const child = fork(join(ROOT, 'bench/load/upstream.mjs'), [], { execArgv: [], stdio: 'inherit' });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`the upstream ended with ${code}`)));
      child.once('message', ({ http, https }) => {
        pin(child.pid, core);
        const stop = () => child.connected && child.disconnect();
        resolve({ http, https, pid: child.pid, caPath: authority.caPath, stop });
      });
      child.send({ cert, key });
    }, reject);
  });
}

/** Candidates alone on the first core; the load generator (this process) and the upstream on others. */
function describeMachine() {
  const count = availableParallelism();
  const pinned = findOnPath('taskset') !== null && count >= 2;
  const cores = pinned
    ? { candidate: 0, upstream: 1, generator: count > 2 ? 2 : 1 }
    : { candidate: null, upstream: null, generator: null };
  pin(process.pid, cores.generator);
  return {
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    count,
    cores,
    platform: `${process.platform} ${process.arch}`,
    commit: git(['rev-parse', '--short', 'HEAD']) || 'no-commit',
    dirty: git(['status', '--porcelain', '--untracked-files=no']) !== '',
    connections: BUSY_CONNECTIONS,
  };
}

function pin(pid, core) {
  if (core !== null) spawnSync('taskset', ['-a', '-p', '-c', `${core}`, `${pid}`], { stdio: 'ignore' });
}

function git(args) {
  const run = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' });
  return run.status === 0 ? run.stdout.trim() : '';
}

function publicOptions() {
  return {
    cases: options.cases.map((test) => test.name),
    candidates: options.candidates,
    modes: options.modes,
    rounds: options.rounds,
    seconds: options.seconds,
  };
}

function publish(result) {
  const markdown = markdownReport(result);
  console.log(`\n${markdown}`);
  if (options.writeResults) {
    const name = `${result.at.slice(0, 10)}-${result.machine.commit}${options.partial ? '-partial' : ''}`;
    const path = join('bench', 'results', `${name}.json`);
    writeFileSync(join(ROOT, path), `${JSON.stringify(result, rounded, 1)}\n`);
    console.log(`Written: ${path}`);
  }
  if (options.writeDocs) {
    const path = join(ROOT, 'docs/reference/performance.md');
    writeFileSync(path, putBetweenMarkers(readFileSync(path, 'utf8'), markdown));
    console.log('Written: docs/reference/performance.md');
  }
}

function rounded(_name, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function nameOfMode(into, figures) {
  if (into === figures.busy) return `${BUSY_CONNECTIONS} connections`;
  return into === figures.single ? 'one connection' : 'fixed rate';
}

function say(line) {
  process.stderr.write(`bench: ${line}\n`);
}
