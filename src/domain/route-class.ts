import { type RouteClass, type RouteList, type RouteRow, routeTable } from './route-table.ts';

/** All rows of one path. */
export interface Route {
  /** As in the table; '' for a path that is in no row. */
  readonly path: string;
  readonly class: RouteClass;
  readonly lists: readonly RouteList[];
  /** Methods in LiteLLM's contract; true for those that are served now. HEAD goes with GET. */
  readonly methods: ReadonlyMap<string, boolean>;
}

export interface InstanceFlags {
  readonly disableLlmApiEndpoints: boolean;
  readonly disableAdminEndpoints: boolean;
  readonly disableAdminUi: boolean;
}

export type RouteDecision = 'allowed' | 'disabled_management' | 'disabled_llm';

/**
 * A path in no row counts as administrative: what we do not know yet can not slip through an instance whose admin
 * endpoints are off.
 */
export const UNKNOWN_ROUTE: Route = { path: '', class: 'management', lists: [], methods: new Map() };

/** `path` is normalised (`normalise-path.ts`), below the server root path, without query. The method plays no part. */
export function classify(path: string): Route {
  return COMPILED.exact.get(path) ?? matchPattern(path) ?? UNKNOWN_ROUTE;
}

/**
 * Whether the switches of this instance leave a route open. LiteLLM's documentation says that all administrative
 * endpoints are off, its code turns off a list; this is what the documentation says. Asked after authentication, so that
 * the switches tell nothing to a caller without a key.
 */
export function decide(route: Route, flags: InstanceFlags): RouteDecision {
  switch (route.class) {
    case 'llm':
    case 'pass_through':
      return flags.disableLlmApiEndpoints ? 'disabled_llm' : 'allowed';
    case 'management':
      return flags.disableAdminEndpoints ? 'disabled_management' : 'allowed';
    case 'ui':
      return flags.disableAdminUi || flags.disableAdminEndpoints ? 'disabled_management' : 'allowed';
    case 'info':
    case 'public':
    case 'health':
    case 'metrics':
      return 'allowed';
  }
}

export type MethodStatus = 'served' | 'known' | 'wrong_method' | 'unknown_route';

export function methodStatus(route: Route, method: string): MethodStatus {
  if (route.methods.size === 0) return 'unknown_route';
  const served = route.methods.get(method === 'HEAD' ? 'GET' : method);
  if (served === undefined) return 'wrong_method';
  return served ? 'served' : 'known';
}

/**
 * A key's `allowed_routes`: an entry matches when it is the path, when the path continues it after a slash, when it ends
 * in `*` and the path starts with the rest, or when it names a list that holds the path. Empty = no restriction.
 */
export function routeAllowedForKey(allowedRoutes: readonly string[], path: string): boolean {
  if (allowedRoutes.length === 0) return true;
  const lists: readonly string[] = classify(path).lists;
  for (const entry of allowedRoutes) {
    if (entry === path || lists.includes(entry)) return true;
    if (entry.endsWith('*') && path.startsWith(entry.slice(0, -1))) return true;
    if (entry !== '' && path.startsWith(entry) && path.charCodeAt(entry.length) === 0x2f) return true;
  }
  return false;
}

export interface LlmEndpoint {
  readonly kind: 'chat' | 'completions' | 'embeddings';
  /** Model named by the path; it wins over the one in the body. */
  readonly pathModel: string | null;
}

/** The LLM endpoint behind a normalised path; null when the path is none of those that are served. */
export function llmEndpoint(path: string): LlmEndpoint | null {
  const plain = PLAIN_ENDPOINTS.get(path);
  if (plain !== undefined) return plain;
  for (const prefix of MODEL_PATH_PREFIXES) {
    if (!path.startsWith(prefix)) continue;
    for (const [suffix, kind] of MODEL_PATH_SUFFIXES) {
      if (!path.endsWith(suffix) || path.length <= prefix.length + suffix.length) continue;
      const pathModel = decodeSegment(path.slice(prefix.length, -suffix.length));
      return pathModel === null ? null : { kind, pathModel };
    }
  }
  return null;
}

/** The same for the paths without a model only; one look-up. */
export function plainLlmEndpoint(path: string): LlmEndpoint | null {
  return PLAIN_ENDPOINTS.get(path) ?? null;
}

const PLAIN_ENDPOINTS: ReadonlyMap<string, LlmEndpoint> = new Map(
  ['', '/v1'].flatMap((prefix): [string, LlmEndpoint][] => [
    [`${prefix}/chat/completions`, { kind: 'chat', pathModel: null }],
    [`${prefix}/completions`, { kind: 'completions', pathModel: null }],
    [`${prefix}/embeddings`, { kind: 'embeddings', pathModel: null }],
  ]),
);
const MODEL_PATH_PREFIXES = ['/engines/', '/openai/deployments/'] as const;
/** `/chat/completions` before `/completions`: a model is not called `gpt-4o/chat`. */
const MODEL_PATH_SUFFIXES = [
  ['/chat/completions', 'chat'],
  ['/completions', 'completions'],
  ['/embeddings', 'embeddings'],
] as const;

/** One or more raw segments, so `openai%2Fgpt-4o` and `openai/gpt-4o` are the same model. */
function decodeSegment(raw: string): string | null {
  if (!raw.includes('%')) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    return null;
  }
}

interface CompiledPattern {
  readonly expression: RegExp;
  readonly route: Route;
}

interface CompiledTable {
  readonly exact: ReadonlyMap<string, Route>;
  /** By first segment, in table order. */
  readonly patterns: ReadonlyMap<string, readonly CompiledPattern[]>;
}

const COMPILED: CompiledTable = compileTable(routeTable());

function compileTable(table: readonly RouteRow[]): CompiledTable {
  const routes = new Map<string, Route & { readonly methods: Map<string, boolean> }>();
  for (const row of table) {
    const known = routes.get(row.path) ?? { path: row.path, class: row.class, lists: row.lists, methods: new Map() };
    for (const method of row.methods) known.methods.set(method, row.served);
    routes.set(row.path, known);
  }
  const exact = new Map<string, Route>();
  const patterns = new Map<string, CompiledPattern[]>();
  for (const route of routes.values()) {
    if (!route.path.includes('{') && !route.path.endsWith('/*')) {
      exact.set(route.path, route);
      continue;
    }
    const first = firstSegment(route.path);
    const bucket = patterns.get(first) ?? [];
    bucket.push({ expression: patternExpression(route.path), route });
    patterns.set(first, bucket);
  }
  return { exact, patterns };
}

function matchPattern(path: string): Route | undefined {
  const bucket = COMPILED.patterns.get(firstSegment(path));
  return bucket?.find(({ expression }) => expression.test(path))?.route;
}

function firstSegment(path: string): string {
  const end = path.indexOf('/', 1);
  return end === -1 ? path.slice(1) : path.slice(1, end);
}

function patternExpression(path: string): RegExp {
  const below = path.endsWith('/*');
  const source = (below ? path.slice(0, -2) : path)
    .split(/(\{[^}]+\})/)
    .map((part) => {
      if (!part.startsWith('{')) return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      return part.endsWith(':path}') ? '.+' : '[^/]+';
    })
    .join('');
  return new RegExp(`^${source}${below ? '(?:/.*)?' : ''}$`);
}
