/** Names with `*`, which stands for any run of characters. Linear in the length of the text, whatever the pattern. */

export function hasWildcard(name: string): boolean {
  return name.includes('*');
}

/** What each `*` of the pattern stands for in the text, or null when the text does not match. */
export function matchWildcard(pattern: string, text: string): readonly string[] | null {
  const pieces = pattern.split('*');
  const first = pieces[0] ?? '';
  if (pieces.length === 1) return pattern === text ? [] : null;
  const last = pieces[pieces.length - 1] ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return null;
  const captures: string[] = [];
  let from = first.length;
  const end = text.length - last.length;
  for (let index = 1; index < pieces.length - 1; index++) {
    const piece = pieces[index] ?? '';
    const at = text.indexOf(piece, from);
    if (at === -1 || at + piece.length > end) return null;
    captures.push(text.slice(from, at));
    from = at + piece.length;
  }
  captures.push(text.slice(from, end));
  return captures;
}

/** Puts the captures into the stars of another pattern, in order; a star without a capture stays. */
export function fillWildcards(pattern: string, captures: readonly string[]): string {
  let next = 0;
  return pattern.replace(/\*/g, (star) => captures[next++] ?? star);
}

/** Characters that are no star: the more, the more specific a pattern. */
export function literalLength(pattern: string): number {
  return pattern.replaceAll('*', '').length;
}
