import { readFileSync } from 'node:fs';

/** A row of docs/reference/compatibility.md, as a reader of that page understands it. */
export interface PublishedRoute {
  /** Title of the table that the row is in. */
  readonly section: string;
  readonly methods: readonly string[];
  readonly path: string;
  readonly served: boolean;
  /** Whether it is open on an instance with LLM routes off, and on one with admin routes and console off. */
  readonly openOnAdmin: boolean;
  readonly openOnWorker: boolean;
  /** Methods of all rows with this path. */
  readonly methodsOfPath: ReadonlySet<string>;
  /** For `/prefix/*`: the path `/prefix` has a row of its own, and that one counts. */
  readonly prefixIsOther: boolean;
}

export function publishedRoutes(): readonly PublishedRoute[] {
  const page = readFileSync(new URL('../../docs/reference/compatibility.md', import.meta.url), 'utf8');
  const methodsOf = new Map<string, Set<string>>();
  const routes: PublishedRoute[] = [];
  let section = '';
  for (const line of page.split('\n')) {
    if (line.startsWith('#')) section = line.replace(/^#+ /, '');
    const [, methods, path, status, admin, worker] =
      /^\| ([A-Z, ]+) \| `([^`]+)` \| (\*\*served\*\*|not yet) \| (open|403) \| (open|403) \|$/.exec(line) ?? [];
    if (methods === undefined || path === undefined) continue;
    const own = methods.split(', ');
    const methodsOfPath = methodsOf.get(path) ?? new Set();
    methodsOf.set(path, methodsOfPath);
    for (const method of own) methodsOfPath.add(method);
    routes.push({
      section,
      methods: own,
      path,
      served: status === '**served**',
      openOnAdmin: admin === 'open',
      openOnWorker: worker === 'open',
      methodsOfPath,
      prefixIsOther: false,
    });
  }
  return routes.map((route) => ({ ...route, prefixIsOther: methodsOf.has(route.path.replace(/\/\*$/, '')) }));
}

/**
 * Paths that the row stands for: placeholders filled, and for a prefix the prefix itself (unless it has a row of its own) and
 * something below it.
 */
export function examplePaths({ path, prefixIsOther }: PublishedRoute): readonly string[] {
  const filled = path.replace(/\{[^}]+:path\}/g, 'some/thing-1').replace(/\{[^}]+\}/g, 'thing-1');
  if (!filled.endsWith('/*')) return [filled];
  const prefix = filled.slice(0, -2);
  const below = `${prefix}/deep/thing-1`;
  return prefixIsOther ? [below] : [prefix, below];
}

const METHODS = ['DELETE', 'PUT', 'PATCH', 'POST', 'GET'] as const;

/** A method that no row with this path has; null when all are taken. */
export function wrongMethod({ methodsOfPath }: PublishedRoute): string | null {
  return METHODS.find((method) => !methodsOfPath.has(method)) ?? null;
}
