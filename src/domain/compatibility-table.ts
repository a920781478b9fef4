import { FAKE_PROVIDER, providerEntry, providerPrefixes } from './provider-catalogue.ts';
import { classify, decide, type InstanceFlags } from './route-class.ts';
import { type RouteClass, type RouteRow, routeTable } from './route-table.ts';

/** The route tables of docs/reference/compatibility.md. A test compares the two. */
export function compatibilityTable(): string {
  const rows = routeTable();
  return SECTIONS.map(([routeClass, title]) => {
    const ofClass = rows.filter((row) => row.class === routeClass);
    const served = ofClass.filter((row) => row.served);
    const later = ofClass.filter((row) => !row.served);
    return [
      `### ${title}`,
      '',
      `${served.length} of ${ofClass.length} served.`,
      '',
      '| Method | Path | Status | Admin | Worker |',
      '|---|---|---|---|---|',
      ...[...served, ...later].map(line),
    ].join('\n');
  }).join('\n\n');
}

/** The provider table of the same page. */
export function providerTable(): string {
  const lines = ['| Prefix | Address | Variable for the address | Variable for the key |', '|---|---|---|---|'];
  const variables = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');
  for (const prefix of providerPrefixes()) {
    const provider = providerEntry(prefix);
    if (provider === undefined || prefix === FAKE_PROVIDER) continue;
    const address = provider.apiBase === null ? 'always given' : `\`${provider.apiBase}\``;
    lines.push(
      `| \`${prefix}/\` | ${address} | ${variables(provider.apiBaseEnv)} | ${variables(provider.apiKeyEnv)} |`,
    );
  }
  return lines.join('\n');
}

const SECTIONS: readonly (readonly [RouteClass, string])[] = [
  ['llm', 'LLM routes'],
  ['info', 'Model list'],
  ['pass_through', 'Pass-through'],
  ['management', 'Management'],
  ['health', 'Health'],
  ['metrics', 'Metrics'],
  ['public', 'Public'],
  ['ui', 'Console and login'],
];

const ADMIN: InstanceFlags = { disableLlmApiEndpoints: true, disableAdminEndpoints: false, disableAdminUi: false };
const WORKER: InstanceFlags = { disableLlmApiEndpoints: false, disableAdminEndpoints: true, disableAdminUi: true };

function line(row: RouteRow): string {
  const route = classify(row.path);
  const reach = (flags: InstanceFlags) => (decide(route, flags) === 'allowed' ? 'open' : '403');
  const status = row.served ? '**served**' : 'not yet';
  return `| ${row.methods.join(', ')} | \`${row.path}\` | ${status} | ${reach(ADMIN)} | ${reach(WORKER)} |`;
}
