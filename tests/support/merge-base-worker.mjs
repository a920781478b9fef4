// The worker thread of `mergeBaseInWorker` where the source is not compiled: options of the process that load TypeScript do not reach a thread.
import { register } from 'tsx/esm/api';

register();
await import('../../src/gateway/live/packed/merge-base-worker.ts');
