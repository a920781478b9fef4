import type { JsonObject } from '../../domain/virtual-key.ts';

/** The last `usage` object in the end of a JSON text; null when there is none that parses. */
export function usageInTail(tail: string): JsonObject | null {
  const at = tail.lastIndexOf('"usage"');
  const open = at < 0 ? -1 : tail.indexOf('{', at);
  if (open < 0) return null;
  let depth = 0;
  for (let index = open; index < tail.length; index++) {
    const code = tail.charCodeAt(index);
    if (code === 0x7b) depth++;
    else if (code === 0x7d && --depth === 0) {
      try {
        return JSON.parse(tail.slice(open, index + 1)) as JsonObject;
      } catch {
        return null;
      }
    }
  }
  return null;
}
