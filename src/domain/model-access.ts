import { hasWildcard, matchWildcard } from './wildcard.ts';

/** A model that somebody asks for, after aliases. A `ModelGroup` is one, and so is a resolved name of a wildcard group. */
export interface ModelAccessTarget {
  readonly name: string;
  readonly accessGroups: readonly string[];
  /** Further names under which a wildcard may match: `openai/gpt-4o` for a group `gpt-4o` of that very model. */
  readonly impliedNames?: readonly string[];
}

/** The `models` of a key, ready to be asked on each request: a plain name costs one look-up in a set. */
export interface ModelAccess {
  /** No restriction at all. */
  readonly everything: boolean;
  allows(target: ModelAccessTarget): boolean;
}

/**
 * `models` empty, or holding `*` or `all-proxy-models`: everything. `all-team-models` stands for the models of the key's
 * team: `teamModels` null means there is no team, and then it stands for nothing. `no-default-models` stands for nothing.
 */
export function compileModelAccess(
  models: readonly string[],
  teamModels: readonly string[] | null = null,
): ModelAccess {
  const allowed = models.includes('all-team-models') ? withTeamModels(models, teamModels) : models;
  if (allowed.length === 0 || allowed.some((name) => name === '*' || name === 'all-proxy-models')) return EVERYTHING;
  const names = new Set(allowed);
  const patterns = allowed.filter(hasWildcard);
  return {
    everything: false,
    allows(target) {
      if (names.has(target.name)) return true;
      for (const group of target.accessGroups) if (names.has(group)) return true;
      if (patterns.length === 0) return false;
      const candidates = [target.name, ...(target.impliedNames ?? [])];
      return patterns.some((pattern) => candidates.some((name) => matchWildcard(pattern, name) !== null));
    },
  };
}

/** The same for a single question. */
export function mayUse(
  models: readonly string[],
  target: ModelAccessTarget,
  teamModels: readonly string[] | null = null,
): boolean {
  return compileModelAccess(models, teamModels).allows(target);
}

const EVERYTHING: ModelAccess = { everything: true, allows: () => true };

function withTeamModels(models: readonly string[], teamModels: readonly string[] | null): readonly string[] {
  // A list without a usable name must not become empty, because empty means everything.
  if (teamModels === null) return models;
  return teamModels.length === 0 ? ['*'] : [...models, ...teamModels];
}
