import { createLog, type Log } from '../../src/observe/log.ts';

/** For code under test that logs things nobody looks at. */
export const silentLog: Log = createLog({ level: 'error', json: true, write: () => undefined });
