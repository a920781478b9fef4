// A thread that makes one management call after another and says what each took: its event loop is not the one that simulates a fleet.
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

const { url, key, pauseMs } = workerData;
let ended = false;
parentPort.once('message', () => {
  ended = true;
});
const times = [];
while (!ended) {
  const startedAt = performance.now();
  const ok = await fetch(url, { headers: { authorization: `Bearer ${key}` } }).then(
    async (response) => (await response.text()) !== '' && response.ok,
    () => false,
  );
  times.push(ok ? performance.now() - startedAt : Number.POSITIVE_INFINITY);
  await delay(pauseMs);
}
parentPort.postMessage(times);
