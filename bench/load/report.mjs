import { countable, pairedRatio } from './statistics.mjs';
import { middleOf } from './targets.mjs';

const BEGIN = '<!-- bench:begin (written by npm run bench -- --write-docs) -->';
const END = '<!-- bench:end -->';

/** The whole report as Markdown: machine, one table per mode, targets. */
export function markdownReport(result) {
  const { machine, options } = result;
  const parts = [
    `Measured ${result.at.slice(0, 16).replace('T', ' ')} UTC, commit ${machine.commit}${machine.dirty ? ' with changes' : ''}, ` +
      `Node ${machine.node}, ${machine.count} x ${machine.cpu}, ${machine.platform}; ` +
      `${options.rounds} interleaved rounds of ${options.seconds} s; ${where(machine)}.`,
  ];
  if (result.skipped.length > 0) {
    parts.push(`Not measured: ${result.skipped.map(({ name, why }) => `${name} (${why})`).join(', ')}.`);
  }
  const repeated = result.cases.flatMap((test) => test.repeated);
  if (repeated.length > 0) parts.push(`Slices that failed and were measured again: ${repeated.join('; ')}.`);
  if (options.modes.includes('busy')) parts.push(...busyTable(result));
  if (options.modes.includes('single'))
    parts.push(...latencyTable(result, 'single', 'One connection: latency without load'));
  if (options.modes.includes('rate')) parts.push(...rateTable(result));
  if (result.start !== null) parts.push(...startTable(result));
  const known = result.targets.filter((target) => target.reached !== null);
  if (known.length > 0) parts.push(...targetTable(known));
  return `${parts.join('\n\n')}\n`;
}

/** Replaces what stands between the two markers of the page. */
export function putBetweenMarkers(page, markdown) {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`The page lacks the markers ${BEGIN} and ${END}.`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${markdown}\n${page.slice(end)}`;
}

function where({ cores }) {
  if (cores.candidate === null) return 'not pinned to cores';
  const shared =
    cores.upstream === cores.generator
      ? `both on core ${cores.upstream}`
      : `on cores ${cores.upstream}, ${cores.generator}`;
  return `candidates on core ${cores.candidate}, upstream and load generator ${shared}`;
}

function busyTable({ cases, machine }) {
  const rows = [];
  for (const test of cases) {
    for (const [name, samples] of Object.entries(test.busy)) {
      const value = (of) => middleOf(samples, of);
      const each = countable(samples).map((sample) => sample.cpuMicros);
      const anchor = test.busy.anchor;
      const ratio =
        anchor === undefined ? Number.NaN : pairedRatio(samples, anchor, (sample) => sample.cpuMicros).ratio;
      const clean = samples.filter((sample) => !sample.disturbed).length;
      rows.push([
        test.title,
        name,
        `${one(value((s) => s.cpuMicros))} (${whole(value((s) => s.userMicros))}+${whole(value((s) => s.systemMicros))})`,
        `${one(Math.min(...each))}..${one(Math.max(...each))}`,
        two(ratio),
        one(value((s) => s.treeMicros)),
        whole(value((s) => s.perSecond)),
        two(value((s) => s.p50Ms)),
        two(value((s) => s.p99Ms)),
        whole(value((s) => s.residentBytes) / 1e6),
        `${clean}/${samples.length}`,
      ]);
    }
  }
  const head = ['case', 'candidate', 'CPU µs/request (user+system)', 'min..max', 'paired ratio to anchor'];
  head.push('whole instance µs', 'requests/s', 'p50 ms', 'p99 ms', 'RSS MB', 'undisturbed');
  return [`### ${machine.connections} connections, closed loop`, table(head, rows)];
}

function latencyTable({ cases }, mode, heading) {
  const rows = [];
  for (const test of cases) {
    for (const [name, samples] of Object.entries(test[mode])) {
      const value = (of) => middleOf(samples, of);
      const cells = [test.title, name, two(value((s) => s.p50Ms)), two(value((s) => s.p99Ms))];
      rows.push([
        ...cells,
        test.stream ? two(value((s) => s.firstP50Ms)) : '',
        test.stream ? two(value((s) => s.firstP99Ms)) : '',
      ]);
    }
  }
  const head = ['case', 'candidate', 'p50 ms', 'p99 ms', 'first token p50 ms', 'first token p99 ms'];
  return [`### ${heading}`, table(head, rows)];
}

function rateTable({ cases }) {
  const rows = [];
  for (const test of cases) {
    const zero = test.rate.direct;
    for (const [name, samples] of Object.entries(test.rate)) {
      const value = (of) => middleOf(samples, of);
      const added = (of) => (zero === undefined || name === 'direct' ? '' : two(value(of) - middleOf(zero, of)));
      rows.push([
        test.title,
        name,
        whole(value((s) => s.offeredPerSecond)),
        two(value((s) => s.p50Ms)),
        two(value((s) => s.p99Ms)),
        added((s) => s.p50Ms),
        added((s) => s.p99Ms),
        test.stream ? two(value((s) => s.firstP50Ms)) : '',
        test.stream ? two(value((s) => s.firstP99Ms)) : '',
        test.stream ? added((s) => s.firstP50Ms) : '',
      ]);
    }
  }
  const head = ['case', 'candidate', 'requests/s offered', 'p50 ms', 'p99 ms', 'added p50 ms', 'added p99 ms'];
  head.push('first token p50 ms', 'first token p99 ms', 'added to first token p50 ms');
  return ['### Fixed rate at half of capacity, latency from the moment a request was due', table(head, rows)];
}

function startTable({ start }) {
  const values = (of) => start.map(of).filter((value) => value !== undefined);
  const list = (of, show) => values(of).map(show).join(', ');
  const rows = [
    ['`npm start` to first completion, new database, ms', list((s) => s.coldMs, whole)],
    ['`npm start` to first completion, existing database, ms', list((s) => s.existingMs, whole)],
    [
      'idle RSS of a gateway process, MB',
      list(
        (s) => s.idleGatewayBytes,
        (bytes) => whole(bytes / 1e6),
      ),
    ],
    [
      'idle RSS of the whole process tree, shared pages counted again, MB',
      list(
        (s) => s.idleTreeBytes,
        (bytes) => whole(bytes / 1e6),
      ),
    ],
  ];
  return ['### Start', table(['what', 'measured'], rows)];
}

function targetTable(list) {
  const show = (value, unit) => (unit === 'x' ? `${value.toFixed(value < 0.5 ? 3 : 2)} x` : `${whole(value)} ${unit}`);
  const rows = list.map(({ what, limit, found, unit, reached }) => [
    what,
    `at most ${show(limit, unit)}`,
    show(found, unit),
    reached ? 'reached' : 'missed',
  ]);
  return ['### Targets', table(['what', 'target', 'found', ''], rows)];
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const one = (value) => (Number.isFinite(value) ? value.toFixed(1) : '');
const two = (value) => (Number.isFinite(value) ? value.toFixed(2) : '');
const whole = (value) => (Number.isFinite(value) ? value.toFixed(0) : '');
