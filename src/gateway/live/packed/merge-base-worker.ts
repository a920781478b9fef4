/** Entry of the worker thread that `mergeBaseInWorker` starts. */
import { constants, setPriority } from 'node:os';
import { workerData } from 'node:worker_threads';
import { type MergeRequest, mergeBase } from './merge-base.ts';

// On Linux this is about the calling thread alone: where cores are few, requests go first.
if (process.platform === 'linux') setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
await mergeBase(workerData as MergeRequest);
