import { Worker } from 'node:worker_threads';
import type { MergeRequest } from './merge-base.ts';

/** As `mergeBase`, in a thread of its own, so that no request waits for it. `entry`: another one, where the source is not compiled. */
export function mergeBaseInWorker(request: MergeRequest, entry: URL = ENTRY): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(entry, { workerData: request });
    worker.once('error', reject);
    worker.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`the thread that merges snapshots ended with ${code}`));
    });
  });
}

/** Source and build have the same files with different endings. */
const ENTRY = new URL(`./merge-base-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
