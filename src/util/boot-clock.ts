import { readFileSync } from 'node:fs';

/** What one process can leave for a later one to measure with. */
export interface BootReading {
  /** The same for as long as the operating system runs; null where it can not be found out. */
  readonly bootId: string | null;
  /** Since the operating system started: comparable between processes while `bootId` is the same. */
  readonly monotonicMs: number;
  readonly wallMs: number;
}

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';
let bootId: string | null | undefined;

export function readBootClock(): BootReading {
  bootId ??= readBootId();
  return { bootId, monotonicMs: Number(process.hrtime.bigint()) / 1e6, wallMs: Date.now() };
}

function readBootId(): string | null {
  try {
    return readFileSync(BOOT_ID_FILE, 'utf8').trim() || null;
  } catch {
    return null;
  }
}
