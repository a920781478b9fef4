import type { AccountKind } from '../../domain/account.ts';
import type { Deployment } from '../../domain/deployment.ts';
import type { Limits } from '../../domain/limit.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import type { KeyScope } from '../auth/key-scope.ts';
import type { CallAccount } from '../auth/with-budget-object.ts';
import type { ResolvedModel } from '../routing/resolve-model.ts';
import type { Descriptor, LimitedSubject } from './limited-subject.ts';

/** Models remembered per key; at the bound they are forgotten and put together again. */
const MODELS_PER_KEY_MAX = 100;

const DESCRIPTORS: Readonly<Record<AccountKind, Descriptor | null>> = {
  user: 'user',
  team: 'team',
  team_member: 'team_member',
  organization: 'organization',
  customer: 'end_user',
  tag: 'tag',
  budget: null,
};

/** By what stays the same for the calls of a key until an account of it changes. */
const KNOWN = new WeakMap<KeyScope, Map<string, Known>>();

interface Known {
  readonly group: ResolvedModel['group'];
  readonly accounts: number;
  readonly subjects: readonly LimitedSubject[];
}

/** Everybody whose limits apply to a call, its deployment aside. `isOfKey`: no customer and no tag is involved, so it is the same at the next call. */
export function subjectsOfCall(
  principal: Principal,
  scope: KeyScope,
  accounts: readonly CallAccount[],
  model: Pick<ResolvedModel, 'requested' | 'group'>,
  isOfKey: boolean,
): readonly LimitedSubject[] {
  if (!isOfKey) return collect(principal, scope, accounts, model);
  let byModel = KNOWN.get(scope);
  if (byModel === undefined || byModel.size >= MODELS_PER_KEY_MAX) {
    byModel = new Map();
    KNOWN.set(scope, byModel);
  }
  const known = byModel.get(model.requested);
  if (known !== undefined && known.group === model.group && known.accounts === accounts.length) return known.subjects;
  const subjects = collect(principal, scope, accounts, model);
  byModel.set(model.requested, { group: model.group, accounts: accounts.length, subjects });
  return subjects;
}

function collect(
  principal: Principal,
  { limits }: KeyScope,
  accounts: readonly CallAccount[],
  { requested, group }: Pick<ResolvedModel, 'requested' | 'group'>,
): readonly LimitedSubject[] {
  const subjects: LimitedSubject[] = [];
  add(subjects, 'api_key', principal.token, limits);
  const team = accounts.find(({ kind }) => kind === 'team');
  const ofModel = modelLimits(limits, requested, group.name);
  const ofTeamModel = team === undefined ? NONE : modelLimits(team.limits, requested, group.name);
  const byDefault = ofModel === NONE && ofTeamModel === NONE ? defaultOf(group.deployments) : NONE;
  const keyModel = ofModel === NONE ? byDefault : ofModel;
  add(subjects, 'model_per_key', `${principal.token}:${requested}`, {
    ...limits,
    ...keyModel,
    maxParallelRequests: null,
  });
  for (const { kind, id, limits: ofAccount } of accounts) {
    const descriptor = DESCRIPTORS[kind];
    if (descriptor !== null) add(subjects, descriptor, id, ofAccount);
  }
  if (team !== undefined)
    add(subjects, 'model_per_team', `${team.id}:${requested}`, {
      ...team.limits,
      ...ofTeamModel,
      maxParallelRequests: null,
    });
  return subjects;
}

interface Rates {
  readonly rpm: number | null;
  readonly tpm: number | null;
}

const NONE: Rates = Object.freeze({ rpm: null, tpm: null });

/** Under the name that was asked for, else under that of its group. */
function modelLimits({ modelRpm, modelTpm }: Limits, requested: string, group: string): Rates {
  const rpm = own(modelRpm, requested) ?? own(modelRpm, group);
  const tpm = own(modelTpm, requested) ?? own(modelTpm, group);
  return rpm === null && tpm === null ? NONE : { rpm, tpm };
}

function own(limits: Readonly<Record<string, number>>, name: string): number | null {
  return Object.hasOwn(limits, name) ? limits[name]! : null;
}

/** What a deployment gives each key of its group. */
function defaultOf(deployments: readonly Deployment[]): Rates {
  for (const { limits } of deployments)
    if (limits !== undefined && (limits.keyRpm !== null || limits.keyTpm !== null))
      return { rpm: limits.keyRpm, tpm: limits.keyTpm };
  return NONE;
}

/** Two entries when requests and tokens are limited in different ways. */
function add(
  subjects: LimitedSubject[],
  descriptor: Descriptor,
  id: string,
  { rpm, tpm, maxParallelRequests, rpmType, tpmType, scope }: Omit<Limits, 'modelRpm' | 'modelTpm'>,
): void {
  if (rpm === null && tpm === null && maxParallelRequests === null) return;
  if (rpmType === tpmType || rpm === null || tpm === null) {
    subjects.push({ descriptor, id, rpm, tpm, maxParallelRequests, type: rpm === null ? tpmType : rpmType, scope });
    return;
  }
  subjects.push({ descriptor, id, rpm, tpm: null, maxParallelRequests, type: rpmType, scope });
  subjects.push({ descriptor, id, rpm: null, tpm, maxParallelRequests: null, type: tpmType, scope });
}

const OF_DEPLOYMENT = new WeakMap<Deployment, readonly LimitedSubject[]>();
const UNLIMITED: readonly LimitedSubject[] = Object.freeze([]);

/** Empty: the deployment has no limits. */
export function subjectsOfDeployment(deployment: Deployment): readonly LimitedSubject[] {
  const { limits } = deployment;
  if (limits === undefined) return UNLIMITED;
  let subjects = OF_DEPLOYMENT.get(deployment);
  if (subjects === undefined) {
    const { rpm, tpm, maxParallelRequests } = limits;
    const made: LimitedSubject[] = [];
    const type = 'best_effort_throughput';
    add(made, 'deployment', deployment.id, {
      rpm,
      tpm,
      maxParallelRequests,
      rpmType: type,
      tpmType: type,
      scope: 'region',
    });
    subjects = made;
    OF_DEPLOYMENT.set(deployment, subjects);
  }
  return subjects;
}
