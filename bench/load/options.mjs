import { parseArgs } from 'node:util';
import { CASES } from './payloads.mjs';

export const CANDIDATE_NAMES = ['direct', 'nginx', 'anchor', 'claviger', 'portkey', 'litellm'];
export const MODES = ['busy', 'single', 'rate', 'start'];

export const USAGE = `npm run bench -- [options]

  --cases a,b        ${CASES.map((test) => test.name).join(', ')} (default: all)
  --candidates a,b   ${CANDIDATE_NAMES.join(', ')} (default: all that are installed)
  --modes a,b        busy    32 connections: CPU per request, requests/s (the primary figures)
                     single  one connection: latency without load
                     rate    a fixed rate at half of capacity: added latency, time to first token
                     start   idle memory, and time from start to first completion
                     (default: all; without start when cases or candidates are named)
  --rounds n         interleaved rounds (default 5)
  --seconds n        measured seconds per slice (default 2)
  --no-build         measure dist/ as it is
  --write-docs       also put the table into docs/reference/performance.md
  --no-results       do not write a file into bench/results/ (one with fewer cases, candidates or modes ends in -partial)
`;

/** Reads the arguments; throws a sentence about the one that can not be used. */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      cases: { type: 'string' },
      candidates: { type: 'string' },
      modes: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      'write-docs': { type: 'boolean', default: false },
      'no-results': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const partial = [values.cases, values.candidates, values.modes].some((value) => value !== undefined);
  return {
    help: values.help,
    partial,
    cases: chosen(
      'case',
      values.cases,
      CASES.map((test) => test.name),
    ).map((name) => CASES.find((c) => c.name === name)),
    candidates: chosen('candidate', values.candidates, CANDIDATE_NAMES),
    /** Named by hand: then a missing one is an error and not a line in the report. */
    candidatesNamed: values.candidates !== undefined,
    modes: chosen(
      'mode',
      values.modes ?? (partial ? MODES.filter((mode) => mode !== 'start').join() : undefined),
      MODES,
    ),
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    writeDocs: values['write-docs'],
    writeResults: !values['no-results'],
  };
}

function chosen(kind, list, known) {
  if (list === undefined) return [...known];
  const names = list.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`There is no ${kind} "${name}". Known: ${known.join(', ')}.`);
  }
  return known.filter((name) => names.includes(name));
}

function positive(name, text) {
  const number = Number(text);
  if (!(number > 0) || (name === 'rounds' && !Number.isInteger(number))) {
    throw new Error(`--${name} must be a number above 0${name === 'rounds' ? ' without a fraction' : ''}.`);
  }
  return number;
}
