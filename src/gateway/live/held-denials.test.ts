import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { accountChange, accountOf } from '../../../tests/support/accounts.ts';
import { at, keyChange, principalOf, recordingLog, tokenOf } from '../../../tests/support/principals.ts';
import type { Account, AccountKind } from '../../domain/account.ts';
import type { DenialReply, DenialReport } from '../../feed/protocol.ts';
import { DENIALS_PER_REPORT_MAX } from '../../feed/protocol.ts';
import { DENIALS_KEPT_MAX, HeldDenials } from './held-denials.ts';
import { MapPrincipalStore } from './principal-store.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'denials-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A control plane that answers reports as a test wants it. */
class Reports {
  readonly taken: DenialReport[] = [];
  status = 200;
  rev = 12;
  lifted = 0;
  post = (_path: string, body: string | Buffer) => {
    this.taken.push(JSON.parse(String(body)) as DenialReport);
    const reply: DenialReply = { epoch: 2, rev: this.rev, blocked: 1, known: 1, lifted: this.lifted };
    return Promise.resolve({ status: this.status, body: JSON.stringify(reply) });
  };
}

interface Rig {
  readonly store: MapPrincipalStore;
  readonly reports: Reports;
  readonly denials: HeldDenials;
  readonly recorded: ReturnType<typeof recordingLog>;
}

function rig(store = new MapPrincipalStore()): Rig {
  const reports = new Reports();
  const recorded = recordingLog();
  const identity = { gatewayId: 'g/0', session: 's' };
  const denials = new HeldDenials({ directory, store, identity, transport: reports, log: recorded.log });
  return { store, reports, denials, recorded };
}

interface State {
  readonly allowed?: readonly (string | number)[];
  readonly blocked?: readonly (string | number)[];
  readonly deleted?: readonly (string | number)[];
}

function fill(
  store: MapPrincipalStore,
  position: { rev: number; epoch: number },
  { allowed = [], blocked = [], deleted = [] }: State,
) {
  const collector = store.beginSnapshot();
  const keys = [
    ...allowed.map((name) => principalOf(name)),
    ...blocked.map((name) => principalOf(name, { blocked: true })),
  ];
  collector.addKeys(keys.map((principal) => ({ principal, spendNano: '0' })));
  collector.addDeletedKeys(deleted.map(tokenOf));
  collector.commit(at(position.rev, position.epoch));
}

/** Epoch 1 as it was, then the snapshot of epoch 2. */
function replaced({ store, denials }: Rig, before: State, after: State): void {
  fill(store, { rev: 20, epoch: 1 }, before);
  denials.begin();
  denials.proceed();
  fill(store, { rev: 10, epoch: 2 }, after);
  denials.replaced(true);
}

const refuses = (store: MapPrincipalStore, name: string | number) =>
  store.key(tokenOf(name))?.principal.blocked !== false;

describe('denials of the epoch before', () => {
  it('stay in force for the keys that the new one allows, and are reported', async () => {
    const all = rig();
    replaced(
      all,
      { allowed: ['kept'], blocked: ['b', 'still'], deleted: ['d', 'gone'] },
      { allowed: ['kept', 'b', 'd', 'new'], blocked: ['still'] },
    );
    expect(['kept', 'b', 'd', 'still', 'gone', 'new'].map((name) => refuses(all.store, name))).toEqual([
      ...[false, true, true, true, true, false],
    ]);
    await all.denials.report(2);
    expect(all.reports.taken).toEqual([
      { gatewayId: 'g/0', session: 's', epoch: 2, blocked: [tokenOf('b')], deleted: [] },
      { gatewayId: 'g/0', session: 's', epoch: 2, blocked: [], deleted: [tokenOf('d')] },
    ]);
  });

  it('of accounts stay in force: those that the new one allows, and customers that it has forgotten', async () => {
    const { store, denials, reports } = rig();
    const fillAccounts = (epoch: number, ...accounts: Account[]): void => {
      const collector = store.beginSnapshot();
      collector.addAccounts(accounts);
      collector.commit(at(20, epoch));
    };
    const blocked = { blocked: true };
    fillAccounts(
      1,
      accountOf('team', 'back', blocked),
      accountOf('team', 'still', blocked),
      accountOf('team', 'gone', blocked),
      accountOf('customer', 'gone', blocked),
      accountOf('user', 'free'),
    );
    denials.begin();
    denials.proceed();
    fillAccounts(2, accountOf('team', 'back'), accountOf('team', 'still', blocked), accountOf('user', 'free'));
    denials.replaced(true);
    const isBlocked = (kind: AccountKind, id: string) => store.account(kind, id)?.blocked === true;
    expect([isBlocked('team', 'back'), isBlocked('customer', 'gone'), isBlocked('user', 'free')]).toEqual([
      ...[true, true, false],
    ]);
    const change = accountChange(21, 'team', 'back');
    store.applyDelta(at(21, 2), [change]);
    expect(denials.applied(at(21, 2), [change])).toBe('held');
    expect(isBlocked('team', 'back')).toBe(true);
    await denials.report(2);
    expect(reports.taken).toEqual([
      { gatewayId: 'g/0', session: 's', epoch: 2, blocked: ['team:back', 'customer:gone'], deleted: [] },
    ]);
    // A process that is started again refuses them as well.
    const next = rig(store).denials;
    expect(next.size).toBe(2);
  });

  it('hold against deltas until the control plane has taken them over and that is applied here', async () => {
    const { store, reports, denials, ...rest } = rig();
    replaced({ store, reports, denials, ...rest }, { blocked: ['b'] }, { allowed: ['b'] });
    const apply = (rev: number, blocked: boolean) => {
      const change = keyChange(rev, 'b', { blocked });
      store.applyDelta(at(rev, 2), [change]);
      return denials.applied(at(rev, 2), [change]);
    };
    expect(apply(11, false)).toBe('held');
    expect(refuses(store, 'b')).toBe(true);
    reports.rev = 13;
    await denials.report(2);
    expect(apply(12, false)).toBe('held');
    expect(refuses(store, 'b')).toBe(true);
    expect(existsSync(join(directory, 'held-denials.json'))).toBe(true);
    expect(apply(13, true)).toBe('released');
    expect(denials.size).toBe(0);
    expect(existsSync(join(directory, 'held-denials.json'))).toBe(false);
    // From here on the feed has the word.
    expect(apply(14, false)).toBe('released');
    expect(refuses(store, 'b')).toBe(false);
  });

  it('survive the end of the process, and the snapshot of the new epoch that is read then', async () => {
    replaced(rig(), { blocked: ['b'], deleted: ['d'] }, { allowed: ['b', 'd'] });
    const store = new MapPrincipalStore();
    fill(store, { rev: 10, epoch: 2 }, { allowed: ['b', 'd'] });
    const { denials, reports } = rig(store);
    expect([refuses(store, 'b'), refuses(store, 'd'), denials.size]).toEqual([true, true, 2]);
    await denials.report(2);
    expect(reports.taken).toHaveLength(2);
  });

  it('are reported again until they are taken, and not while an answer stands', async () => {
    const all = rig();
    replaced(all, { blocked: ['b'] }, { allowed: ['b'] });
    all.reports.status = 503;
    await all.denials.report(2);
    await all.denials.report(2);
    all.reports.status = 200;
    await Promise.all([all.denials.report(2), all.denials.report(2)]);
    await all.denials.report(2);
    expect(all.reports.taken).toHaveLength(3);
    expect(all.denials.size).toBe(1);
  });

  it('of two epochs in a row are all kept', () => {
    const all = rig();
    replaced(all, { blocked: ['b'] }, { allowed: ['b', 'c'] });
    all.store.applyDelta(at(11, 2), [keyChange(11, 'c', { blocked: true })]);
    all.denials.begin();
    fill(all.store, { rev: 10, epoch: 3 }, { allowed: ['b', 'c'] });
    all.denials.replaced(true);
    expect([refuses(all.store, 'b'), refuses(all.store, 'c')]).toEqual([true, true]);
  });

  it('are forgotten when the snapshot did not become complete', () => {
    const all = rig();
    fill(all.store, { rev: 20, epoch: 1 }, { blocked: ['b'] });
    all.denials.begin();
    all.denials.abandon();
    all.denials.replaced(true);
    expect(all.denials.size).toBe(0);
  });

  it('say when somebody has allowed some of them since', async () => {
    const all = rig();
    replaced(all, { blocked: ['b'] }, { allowed: ['b'] });
    all.reports.lifted = 1;
    all.reports.rev = 10;
    await all.denials.report(2);
    expect(all.denials.applied(at(10, 2), [])).toBe('lifted');
  });

  it('are bounded in number and in what one report holds', async () => {
    const many = rig();
    const names = Array.from({ length: DENIALS_PER_REPORT_MAX + 1 }, (_, n) => n);
    replaced(many, { blocked: names }, { allowed: names });
    await many.denials.report(2);
    expect(many.reports.taken.map(({ blocked }) => blocked.length)).toEqual([DENIALS_PER_REPORT_MAX, 1]);

    const tooMany = rig();
    const deleted = Array.from({ length: DENIALS_KEPT_MAX + 5 }, (_, n) => n.toString(16).padStart(64, '0'));
    const collector = tooMany.store.beginSnapshot();
    collector.addDeletedKeys(deleted);
    collector.commit(at(1, 1));
    tooMany.denials.begin();
    fill(tooMany.store, { rev: 1, epoch: 2 }, {});
    tooMany.denials.replaced(true);
    expect(tooMany.recorded.text()).toContain('"left":5');
  });

  it('do not stop a start whose file can not be read', () => {
    writeFileSync(join(directory, 'held-denials.json'), '{"blocked": [');
    const { denials, recorded } = rig();
    expect(denials.size).toBe(0);
    expect(recorded.text()).toContain('can not be read');
  });
});
