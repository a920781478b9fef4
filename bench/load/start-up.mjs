/** How long a start takes and what an idle instance weighs. Not pinned: people start it on the whole machine. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { gatewayProcesses } from './candidates/claviger.mjs';
import { commandLine, processTree, residentBytes } from './process-stats.mjs';
import { freePort, startProcess } from './start-candidate.mjs';

const MASTER_KEY = 'sk-bench-master-0123456789';
const FIRST_ANSWER_MS_MAX = 60_000;
/** How long after its start an instance is weighed. */
const IDLE_MS = 10_000;

/** `npm start` with an empty data directory, then again with the existing one; idle memory after each second start. */
export async function startUpSamples({ root, dir, repetitions }) {
  const samples = [];
  for (let i = 0; i < repetitions; i++) {
    const dataDir = join(dir, `start-${i}`);
    mkdirSync(dataDir, { recursive: true });
    const cold = await startOnce({ root, dir, dataDir, weigh: i === 0 });
    const existing = await startOnce({ root, dir, dataDir, weigh: false });
    samples.push({
      coldMs: cold.firstAnswerMs,
      existingMs: existing.firstAnswerMs,
      idleGatewayBytes: cold.idleGatewayBytes,
      idleTreeBytes: cold.idleTreeBytes,
    });
  }
  return samples;
}

async function startOnce({ root, dir, dataDir, weigh }) {
  const port = await freePort();
  const startedAt = performance.now();
  const started = startProcess({
    command: 'npm',
    args: ['start', '--silent', '--', '--port', `${port}`],
    env: {
      ...{
        CLAVIGER_DATA_DIR: dataDir,
        LITELLM_MASTER_KEY: MASTER_KEY,
        LITELLM_SALT_KEY: 'bench-salt',
        HOST: '127.0.0.1',
      },
      ...{ DATABASE_URL: undefined, CONFIG_FILE_PATH: undefined },
    },
    cwd: root,
    core: null,
    log: join(dir, 'start-up.log'),
    // npm and its shell do not pass a signal on reliably.
    stopTarget: (tree) => tree.find((pid) => /^\S*node \S*start\.mjs/.test(commandLine(pid))),
  });
  try {
    await firstAnswer(port, started, startedAt);
    const firstAnswerMs = performance.now() - startedAt;
    if (!weigh) return { firstAnswerMs };
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, IDLE_MS - firstAnswerMs)));
    const bytes = (pids) => pids.reduce((sum, pid) => sum + residentBytes(pid), 0);
    const gateways = gatewayProcesses(started.pid);
    return {
      firstAnswerMs,
      idleGatewayBytes: bytes(gateways) / Math.max(1, gateways.length),
      idleTreeBytes: bytes(processTree(started.pid)),
    };
  } finally {
    await started.stop();
  }
}

async function firstAnswer(port, started, startedAt) {
  let last = 'no answer';
  while (performance.now() - startedAt < FIRST_ANSWER_MS_MAX) {
    if (!started.running()) throw new Error(`npm start ended:\n${started.logText()}`);
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${MASTER_KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'fake-gpt', messages: [{ role: 'user', content: 'Hello' }] }),
      });
      const text = await answer.text();
      if (answer.ok) return;
      last = `${answer.status} ${text}`;
    } catch (error) {
      last = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`No completion within ${FIRST_ANSWER_MS_MAX} ms of npm start: ${last}\n${started.logText()}`);
}
