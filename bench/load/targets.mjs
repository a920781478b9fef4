import { countable, median, pairedRatio } from './statistics.mjs';

const RATIOS_TO_ANCHOR = [
  ['chat-1k', 1.1],
  ['chat-10k', 1.1],
  ['chat-200k', 1.0],
  ['sse-64', 1.3],
  ['chat-1k-tls', 1.1],
];
const PORTKEY_RATIO = 1 / 9;
const IDLE_MEGABYTES = 110;
const START_COLD_MS = 5_000;
const START_EXISTING_MS = 2_000;

/** Every figure that Claviger has to reach, with what this run found; `reached` null: not measured in this run. */
export function targets(result) {
  const list = [];
  const ratio = (caseName, other) => {
    const busy = result.cases.find((test) => test.name === caseName)?.busy ?? {};
    if (busy.claviger === undefined || busy[other] === undefined) return null;
    return pairedRatio(busy.claviger, busy[other], (sample) => sample.cpuMicros).ratio;
  };
  const add = (what, limit, found, unit) =>
    list.push({ what, limit, found, unit, reached: found === null ? null : found <= limit });
  for (const [name, limit] of RATIOS_TO_ANCHOR)
    add(`CPU per request of ${name} to the anchor`, limit, ratio(name, 'anchor'), 'x');
  for (const name of ['chat-1k', 'chat-10k'])
    add(`CPU per request of ${name} to Portkey`, PORTKEY_RATIO, ratio(name, 'portkey'), 'x');
  const start = result.start;
  const middle = (value) => (start === null ? null : median(start.map(value).filter((found) => found !== undefined)));
  const idle = middle((sample) => sample.idleGatewayBytes);
  add('idle memory of a gateway process', IDLE_MEGABYTES, idle === null ? null : idle / 1e6, 'MB');
  add(
    'start to first completion, new database',
    START_COLD_MS,
    middle((sample) => sample.coldMs),
    'ms',
  );
  add(
    'start to first completion, existing database',
    START_EXISTING_MS,
    middle((sample) => sample.existingMs),
    'ms',
  );
  return list;
}

/** Medians over the samples that count. */
export function middleOf(samples, value) {
  return median(countable(samples).map(value));
}
