import { isBefore } from '../../feed/codec.ts';

/** A file in a slot directory, and the position that it is of, or begins at. */
export interface NamedPoint {
  readonly name: string;
  readonly epoch: number;
  readonly rev: number;
}

export function snapshotName({ epoch, rev }: { readonly epoch: number; readonly rev: number }): string {
  return `snapshot-${digits(epoch, 10)}-${digits(rev, 16)}.snap`;
}

export function deltaLogName({ epoch, rev }: { readonly epoch: number; readonly rev: number }): string {
  return `delta-${digits(epoch, 10)}-${digits(rev, 16)}.log`;
}

/** The snapshots among these names, newest first. */
export function snapshotsIn(names: readonly string[]): NamedPoint[] {
  return pointsIn(names, /^snapshot-(\d{10})-(\d{16})\.snap$/).reverse();
}

/** The delta logs among these names, oldest first. */
export function deltaLogsIn(names: readonly string[]): NamedPoint[] {
  return pointsIn(names, /^delta-(\d{10})-(\d{16})\.log$/);
}

function pointsIn(names: readonly string[], pattern: RegExp): NamedPoint[] {
  const points: NamedPoint[] = [];
  for (const name of names) {
    const match = pattern.exec(name);
    if (match !== null) points.push({ name, epoch: Number(match[1]), rev: Number(match[2]) });
  }
  return points.sort((a, b) => (isBefore(a, b) ? -1 : 1));
}

function digits(value: number, length: number): string {
  return String(value).padStart(length, '0');
}
