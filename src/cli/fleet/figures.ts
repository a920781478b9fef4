/** Numbers for people: with units, three digits or so. */

/** `3 s ago`. */
export function age(ms: number): string {
  return `${span(ms)} ago`;
}

export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function whole(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** A figure that is not known. */
export const UNKNOWN = '-';

export function orUnknown<T>(value: T | null | undefined, show: (value: T) => string): string {
  return value === null || value === undefined ? UNKNOWN : show(value);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

/** Long ids are shown by their beginning, as far as that tells them apart. */
export function shortIds(ids: readonly string[]): Map<string, string> {
  const distinct = [...new Set(ids)];
  const lengths = [8, 12, 16, 24];
  const fits = lengths.find((length) => new Set(distinct.map((id) => id.slice(0, length))).size === distinct.length);
  return new Map(distinct.map((id) => [id, fits === undefined ? id : id.slice(0, fits)]));
}
