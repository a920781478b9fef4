import { closeSync, fdatasync, fsync, ftruncateSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';

/** What the usage log needs of `node:fs`; a parameter, so that tests can fill the disk and break it. */
export interface UsageLogFs {
  openSync(path: string, flags: string, mode?: number): number;
  writeSync(fd: number, bytes: Buffer, offset: number, length: number, position: number): number;
  ftruncateSync(fd: number, length: number): void;
  closeSync(fd: number): void;
  renameSync(from: string, to: string): void;
  unlinkSync(path: string): void;
  fdatasync(fd: number, done: (error: Error | null) => void): void;
  fsync(fd: number, done: (error: Error | null) => void): void;
}

export const nodeUsageLogFs: UsageLogFs = {
  openSync,
  writeSync,
  ftruncateSync,
  closeSync,
  renameSync,
  unlinkSync,
  fdatasync,
  fsync,
};
