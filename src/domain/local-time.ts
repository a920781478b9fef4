/** `local` is wall-clock time written as if it were UTC. */
export function fromLocal(local: number, timeZone: string): number {
  const guess = local - zoneOffsetMs(local, timeZone);
  // The offset may change between the guess and the wanted moment (daylight saving time).
  return local - zoneOffsetMs(guess, timeZone);
}

export function zoneOffsetMs(utcMs: number, timeZone: string): number {
  if (timeZone === 'UTC') return 0;
  const parts = formatFor(timeZone).formatToParts(utcMs);
  const part = (type: string) => Number(parts.find((candidate) => candidate.type === type)?.value);
  const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return local - Math.floor(utcMs / 1_000) * 1_000;
}

/** A format takes longer to make than to use; an instance has one zone. */
let known: { readonly timeZone: string; readonly format: Intl.DateTimeFormat } | null = null;

function formatFor(timeZone: string): Intl.DateTimeFormat {
  if (known?.timeZone !== timeZone) {
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    known = { timeZone, format };
  }
  return known.format;
}
