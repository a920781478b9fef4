/** Slices: one candidate, one case, a few seconds, everything that is read off during that time. */
import { closedLoop, once, openLoop } from './generator.mjs';
import { httpRequest, requestBody, STREAM_CHUNK_MS, STREAM_CHUNKS } from './payloads.mjs';
import { coreBusySeconds, cpuSeconds, processTree, residentBytes } from './process-stats.mjs';
import { percentile } from './statistics.mjs';

export const BUSY_CONNECTIONS = 32;
/** Of each slice, before anything is counted: connections and caches of this slice get ready. */
const WARM_MS = 300;
/** CPU of others on the candidate's core above this share marks a sample as disturbed. */
const FOREIGN_SHARE_MAX = 0.12;
/** After a slice: what a candidate left for later (batches, garbage) ends before the next one begins. */
const SETTLE_STEP_MS = 200;
/** One tick of the kernel's clock within a step. */
const SETTLED_SHARE_MAX = 0.06;
const SETTLE_MS_MAX = 10_000;

/** The bytes that this candidate is asked with in this case. */
export function requestFor(candidate, test) {
  return httpRequest({ ...candidate.request(test), body: requestBody(test) });
}

/** Throws unless the candidate answers the case completely: a fast wrong answer is not measured. */
export async function verify(candidate, test) {
  const { status, body } = await once({ port: candidate.port, request: requestFor(candidate, test) });
  const complete = test.stream
    ? body.split('data: ').length - 1 >= STREAM_CHUNKS && body.includes('data: [DONE]') && body.includes('"usage":{')
    : body.includes('"total_tokens":349') || body.includes('"total_tokens": 349');
  if (status !== 200 || !complete) {
    throw new Error(`${candidate.name} does not answer ${test.name}: status ${status}, ${body.slice(0, 500)}`);
  }
}

/** Many connections, each busy all the time: CPU per request and requests per second. */
export async function busySlice(candidate, test, seconds, core, connections = BUSY_CONNECTIONS) {
  const gateway = candidate.gatewayPids();
  const tree = processTree(candidate.pid);
  const read = () => ({
    gateway: cpuSeconds(gateway),
    tree: cpuSeconds(tree),
    core: core === null ? 0 : coreBusySeconds(core),
    at: performance.now(),
  });
  const treeBefore = cpuSeconds(tree).total;
  let before;
  let after;
  const run = await closedLoop({
    port: candidate.port,
    request: requestFor(candidate, test),
    connections,
    spreadMs: test.stream ? STREAM_CHUNKS * STREAM_CHUNK_MS : 0,
    warmMs: WARM_MS,
    durationMs: seconds * 1_000,
    onMeasure: (end) => {
      if (end === 'start') before = read();
      else after = read();
    },
  });
  await settle(tree);
  const treeAfter = cpuSeconds(tree).total;
  const micros = (span) => (span * 1e6) / run.completed;
  const elapsed = (after.at - before.at) / 1_000;
  const treeCpu = after.tree.total - before.tree.total;
  const foreign = core === null ? null : Math.max(0, after.core - before.core - treeCpu) / elapsed;
  return {
    completed: run.completed,
    perSecond: run.perSecond,
    cpuMicros: micros(after.gateway.total - before.gateway.total),
    userMicros: micros(after.gateway.user - before.gateway.user),
    systemMicros: micros(after.gateway.system - before.gateway.system),
    // From before the first request until the last batch of usage is in the database: nothing is left out as "later".
    treeMicros: ((treeAfter - treeBefore) * 1e6) / run.total,
    ...latencyFigures(run),
    residentBytes: gateway.reduce((sum, pid) => sum + residentBytes(pid), 0),
    foreignShare: foreign,
    disturbed: foreign !== null && foreign > FOREIGN_SHARE_MAX,
  };
}

/** A fixed number of requests per second, whatever the answers do. */
export async function rateSlice(candidate, test, seconds, perSecond) {
  const run = await openLoop({
    port: candidate.port,
    request: requestFor(candidate, test),
    perSecond,
    warmMs: WARM_MS,
    durationMs: seconds * 1_000,
  });
  await settle(processTree(candidate.pid));
  return { offeredPerSecond: perSecond, completed: run.completed, unsent: run.unsent, ...latencyFigures(run) };
}

async function settle(pids) {
  const deadline = performance.now() + SETTLE_MS_MAX;
  for (let last = cpuSeconds(pids).total; performance.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_STEP_MS));
    const now = cpuSeconds(pids).total;
    if ((now - last) * 1_000 <= SETTLED_SHARE_MAX * SETTLE_STEP_MS) return;
    last = now;
  }
}

function latencyFigures({ latencies, firstBytes }) {
  return {
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    firstP50Ms: percentile(firstBytes, 0.5),
    firstP99Ms: percentile(firstBytes, 0.99),
  };
}
