/** The values of `{name}` and `{name:path}` of a route in a path that it matches, decoded. */
export function pathParameters(route: string, path: string): Readonly<Record<string, string>> {
  if (!route.includes('{')) return {};
  const names: string[] = [];
  const source = route
    .split(/(\{[^}]+\})/)
    .map((part) => {
      if (!part.startsWith('{')) return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      const [name = '', kind] = part.slice(1, -1).split(':');
      names.push(name);
      return kind === 'path' ? '(.+)' : '([^/]+)';
    })
    .join('');
  const values = new RegExp(`^${source}$`).exec(path)?.slice(1) ?? [];
  return Object.fromEntries(names.map((name, index) => [name, decoded(values[index] ?? '')]));
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
