import { nodeUsageLogFs, type UsageLogFs } from '../../src/gateway/metering/usage-log-fs.ts';

/** A disk under a usage log that becomes full, fails to sync, and belongs to a process that can be killed. */
export class FaultyFs implements UsageLogFs {
  writes = 0;
  writeError: Error | null = null;
  syncError: Error | null = null;
  syncs = 0;
  readonly syncedAfterError = new Set<number>();
  readonly failedFds = new Set<number>();
  readonly #fds = new Set<number>();
  #failNextSync = false;

  /** From now on nothing that it is asked to do happens, and no sync ever ends: its process is gone. */
  kill(): void {
    const nothing = (): void => {};
    Object.assign(this, {
      openSync: () => -1,
      writeSync: (_fd: number, _bytes: Buffer, _offset: number, length: number) => length,
      ftruncateSync: nothing,
      renameSync: nothing,
      unlinkSync: nothing,
      closeSync: nothing,
      fdatasync: nothing,
      fsync: nothing,
    });
    for (const fd of this.#fds) nodeUsageLogFs.closeSync(fd);
  }

  failNextSync(): void {
    this.#failNextSync = true;
  }

  openSync = (path: string, flags: string, mode?: number): number => {
    const fd = nodeUsageLogFs.openSync(path, flags, mode);
    this.#fds.add(fd);
    return fd;
  };

  ftruncateSync = nodeUsageLogFs.ftruncateSync;
  renameSync = nodeUsageLogFs.renameSync;
  unlinkSync = nodeUsageLogFs.unlinkSync;
  fsync = nodeUsageLogFs.fsync;

  closeSync = (fd: number): void => {
    this.failedFds.delete(fd);
    this.#fds.delete(fd);
    nodeUsageLogFs.closeSync(fd);
  };

  writeSync = (fd: number, bytes: Buffer, offset: number, length: number, position: number): number => {
    this.writes += 1;
    if (this.writeError === null) return nodeUsageLogFs.writeSync(fd, bytes, offset, length, position);
    // As a disk does that becomes full: some of it still fits.
    if (length > 16) return nodeUsageLogFs.writeSync(fd, bytes, offset, Math.ceil(length / 2), position);
    throw this.writeError;
  };

  fdatasync = (fd: number, done: (error: Error | null) => void): void => {
    this.syncs += 1;
    if (this.failedFds.has(fd)) this.syncedAfterError.add(fd);
    const fails = this.#failNextSync || this.syncError !== null;
    this.#failNextSync = false;
    if (fails) {
      this.failedFds.add(fd);
      setImmediate(() => done(this.syncError ?? new Error('EIO: i/o error, fdatasync')));
    } else nodeUsageLogFs.fdatasync(fd, done);
  };
}

/** Where there are thousands of starts, and none of them is about power failures. */
export const unsyncedFs: UsageLogFs = {
  ...nodeUsageLogFs,
  fdatasync: (_fd, done) => setImmediate(done, null),
  fsync: (_fd, done) => setImmediate(done, null),
};

export const noSpace = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
