import type { Change } from '../../domain/change.ts';
import { servesRegion } from '../../domain/stored-model.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import type { Hello } from '../../feed/protocol.ts';

/** Whether a key has to do with an account that restricts it, which a client of protocol 1 can not know. */
export type IsRestricted = (principal: Principal) => boolean;

/** What a subscriber may see of changes: models of its region only, and of a client of protocol 1 only what that protocol has. */
export function changesFor(
  { protocol, region }: Pick<Hello, 'protocol' | 'region'>,
  changes: readonly Change[],
  isRestricted: IsRestricted,
): Change[] {
  return protocol < 2
    ? changes
        .filter(({ kind }) => kind === 'key' || kind === 'setting')
        .map((change) => changeForProtocol1(change, isRestricted))
    : changes.map((change) => changeForRegion(change, region));
}

/** A model that a region may not use, or no longer, is one that was deleted there. */
function changeForRegion(change: Change, region: string): Change {
  if (change.kind !== 'model' || change.value === null || servesRegion(change.value, region)) return change;
  return remembered(withoutModel, change, ({ rev, id }) => ({ rev, kind: 'model', id, value: null }));
}

function changeForProtocol1(change: Change, isRestricted: IsRestricted): Change {
  if (change.kind !== 'key' || change.value === null) return change;
  const { value } = change;
  const restricted = isRestricted(value);
  return remembered(restricted ? restrictedOfProtocol1 : ofProtocol1, change, ({ rev, id }) => ({
    rev,
    kind: 'key',
    id,
    value: principalForProtocol1(value, restricted),
  }));
}

/**
 * The fields that version 0.1.0 knew. It knows no `crit` and no accounts either, so that a key with a rule that it would leave out is sent to
 * it as blocked.
 */
export function principalForProtocol1(principal: Principal, restricted: boolean): Principal {
  const { allowedRegions: _, fence: __, limits: ___, budgets: ____, budgetId: _____, crit, ...known } = principal;
  return (crit === undefined && !restricted ? known : { ...known, blocked: true }) as Principal;
}

/** By change, so that what is made of it is made once and its text too, however many subscribers get it. */
const withoutModel = new WeakMap<Change, Change>();
const ofProtocol1 = new WeakMap<Change, Change>();
const restrictedOfProtocol1 = new WeakMap<Change, Change>();

function remembered(made: WeakMap<Change, Change>, change: Change, make: (change: Change) => Change): Change {
  let other = made.get(change);
  if (other === undefined) {
    other = make(change);
    made.set(change, other);
  }
  return other;
}
