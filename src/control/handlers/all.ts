import type { Endpoint } from './handler.ts';
import { blockKeyEndpoint, unblockKeyEndpoint } from './key/block-key.ts';
import { deleteKeyEndpoint } from './key/delete-key.ts';
import { generateKeyEndpoint } from './key/generate-key.ts';
import { keyInfoEndpoint } from './key/key-info.ts';
import { listKeysEndpoint } from './key/list-keys.ts';
import { updateKeyEndpoint } from './key/update-key.ts';
import { spendLogsEndpoint } from './spend/spend-logs.ts';

/** Everything that the management API serves. */
export const ENDPOINTS: readonly Endpoint[] = [
  generateKeyEndpoint,
  updateKeyEndpoint,
  deleteKeyEndpoint,
  blockKeyEndpoint,
  unblockKeyEndpoint,
  keyInfoEndpoint,
  listKeysEndpoint,
  spendLogsEndpoint,
];
