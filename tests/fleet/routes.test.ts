import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isLong } from '../support/length.ts';
import { type Claviger, startClaviger } from '../support/processes.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';
import { until } from '../support/until.ts';
import { examplePaths, type PublishedRoute, publishedRoutes, wrongMethod } from './published-routes.ts';
import { type RouteAnswer, RouteClient, type RouteRequest } from './route-client.ts';

/** Every published route, on every kind of instance, in every spelling: one database, one instance after the other. */

const MASTER_KEY = 'sk-master-of-the-route-tests';
const VIRTUAL_KEY = 'sk-virtual-of-the-route-tests';
const BAD_KEY = 'sk-nobody-has-made-this-key';
const MANAGEMENT_OFF = 'Management routes are disabled for this instance.';
const LLM_OFF = 'LLM API routes are disabled for this instance.';

interface Kind {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly rootPath: string;
  readonly llmOff: boolean;
  readonly adminOff: boolean;
}

const LLM_ROUTES_OFF = { DISABLE_LLM_API_ENDPOINTS: 'True' };
const ADMIN_ROUTES_OFF = { DISABLE_ADMIN_ENDPOINTS: 'true', DISABLE_ADMIN_UI: 'true' };

const KINDS: readonly Kind[] = [
  kind('standalone', false, false),
  kind('admin', true, false),
  kind('worker', false, true),
  kind('all flags', true, true),
  kind('standalone', false, false, '/llm'),
  kind('worker', false, true, '/llm'),
];

function kind(name: string, llmOff: boolean, adminOff: boolean, rootPath = ''): Kind {
  const env = {
    ...(llmOff ? LLM_ROUTES_OFF : {}),
    ...(adminOff ? ADMIN_ROUTES_OFF : {}),
    ...(rootPath === '' ? {} : { SERVER_ROOT_PATH: rootPath }),
  };
  return { name: rootPath === '' ? name : `${name} under ${rootPath}`, env, rootPath, llmOff, adminOff };
}

interface Case extends RouteRequest {
  readonly row: PublishedRoute;
  readonly expected: Expected;
}

interface Expected {
  readonly status: number | readonly number[];
  /** Part of the text of `error.message`; null: no error. */
  readonly error: RegExp | null;
}

const ROUTES = publishedRoutes();
/** What is served and some of the rest: in the short run enough where only the spelling or the prefix of a path differs. */
const SOME_ROUTES = ROUTES.filter(({ served }, index) => served || isLong || index % 5 === 0);
let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.drop());

it('the published table has all classes of routes', () => {
  expect(ROUTES.length).toBeGreaterThan(450);
  expect(new Set(ROUTES.map(({ section }) => section)).size).toBe(8);
});

describe.each(KINDS)('on $name', (kind) => {
  const routes = kind.rootPath === '' ? ROUTES : SOME_ROUTES;
  let claviger: Claviger;
  let client: RouteClient;

  beforeAll(async () => {
    claviger = await startClaviger({
      env: {
        DATABASE_URL: database.url,
        DIRECT_URL: database.directUrl,
        LITELLM_MASTER_KEY: MASTER_KEY,
        JSON_LOGS: 'true',
        ...kind.env,
      },
      readinessPath: `${kind.rootPath}/health/readiness`,
    });
    client = new RouteClient(claviger.port);
    if (kind === KINDS[0]) {
      const made = await claviger.api('POST', '/key/generate', { key: VIRTUAL_KEY, key_alias: 'routes' });
      expect(made.status).toBe(200);
    }
    // Until its knowledge is confirmed, an instance does not say of a key that it does not exist.
    await until('the instance knows its keys', async () => {
      const answers = await client.sendAll(
        [VIRTUAL_KEY, BAD_KEY].map((key) => ({ method: 'GET', target: `${kind.rootPath}/models`, key })),
      );
      return answers.map(([, { status }]) => status).join() === '200,401' ? true : null;
    });
  });
  afterAll(async () => {
    client?.close();
    await claviger?.stop();
  });

  it('answers each route and method as the table says', async () => {
    const cases = routes.flatMap((row) =>
      examplePaths(row).flatMap((path) =>
        [...row.methods, wrongMethod(row)].flatMap((method) =>
          method === null
            ? []
            : credentials(row, method).map((key) => caseOf(kind, row, method, kind.rootPath + path, key)),
        ),
      ),
    );
    await check(cases);
  });

  it('answers another spelling of a path as that path, and refuses what can be read in two ways', async () => {
    const cases = SOME_ROUTES.flatMap((row): Case[] => {
      const [path = '/'] = examplePaths(row);
      if (path === '/') return [];
      const method = row.methods[0]!;
      const spelled = (target: string) => caseOf(kind, row, method, target, VIRTUAL_KEY);
      const { rootPath } = kind;
      return [
        spelled(`${rootPath}/${path}`),
        spelled(`${rootPath}/v1/..${path}`),
        spelled(`${rootPath}/v1/%2e%2e${path}`),
        spelled(`${rootPath}${path}/`),
        spelled(`${rootPath}${encodeLetter(path)}`),
        spelled(`http://other.example${rootPath}${path}`),
        // Above the root, hidden behind an encoded slash, or encoded twice.
        ...[`/%2e%2e${path}`, `${rootPath}/v1%2f..${path}`, `${rootPath}/%252e%252e${path}`].map((target) => ({
          ...spelled(target),
          expected: { status: 400, error: /can not be read in one way only/ },
        })),
      ];
    });
    await check(cases);
  });

  it('lets no administrative route pass as an LLM route', async () => {
    const cases = routes.filter(isAdministrative).flatMap((row): Case[] => {
      const [path = ''] = examplePaths(row);
      const method = row.methods[0]!;
      const lastSlash = path.lastIndexOf('/');
      const disguised = [
        path.toUpperCase(),
        `${path}/azure`,
        `${path}/chat/completions`,
        `/key/generate${path}`,
        ...(lastSlash > 0 ? [`${path.slice(0, lastSlash)}%2f${path.slice(lastSlash + 1)}`] : []),
      ];
      return disguised.map((target) => ({
        row,
        method,
        target: kind.rootPath + target,
        key: VIRTUAL_KEY,
        body: bodyFor(method),
        expected: kind.adminOff
          ? { status: 403, error: exactly(MANAGEMENT_OFF) }
          : // One of them is another administrative route: `/fleet/changes/azure`.
            { status: row.path === '/fleet/changes' ? [401, 404, 405] : [404, 405], error: /./ },
      }));
    });
    await check(cases);
  });

  it('refuses an upgrade in the same order: 401, 403, and then where there is none to have', async () => {
    const cases = routes.flatMap((row) => {
      const [path = '/'] = examplePaths(row);
      return [null, VIRTUAL_KEY].map((key): Case => {
        const target = kind.rootPath + path;
        const plain = caseOf(kind, row, 'GET', target, key);
        return { ...plain, body: undefined, upgrade: true, expected: expectedOfUpgrade(kind, row, key) };
      });
    });
    await check(cases);
  });

  it('has nothing outside of its root path', async () => {
    if (kind.rootPath === '') return;
    const cases = routes.flatMap((row): Case[] => {
      const [path = '/'] = examplePaths(row);
      const method = row.methods[0]!;
      return ['', '/llmx', '/v1/llm'].map((prefix) => ({
        ...caseOf(kind, row, method, prefix + path, MASTER_KEY),
        expected: { status: 404, error: /^Not Found$/ },
      }));
    });
    await check(cases);
  });

  it('asks the control process about administrative routes only where they are on', async () => {
    const reached = await until('the log of the control process', () => {
      const records = logRecords(claviger).filter(({ message }) => message.startsWith('management request'));
      return records.length > 0 ? records : null;
    });
    const open = new Set(ROUTES.filter((row) => !isAdministrative(row)).map(({ path }) => path));
    const administrative = reached.filter(({ route }) => !open.has(route));
    if (kind.adminOff) expect(administrative).toEqual([]);
    else expect(administrative.length).toBeGreaterThan(100);
  });

  async function check(cases: readonly Case[]): Promise<void> {
    const wrong: string[] = [];
    for (const [{ method, target, key, upgrade, expected }, answer] of await client.sendAll(cases)) {
      const problem = difference(expected, answer, method);
      const who = key === null ? 'no key' : key === MASTER_KEY ? 'master key' : key === BAD_KEY ? 'bad key' : 'a key';
      if (problem !== null) wrong.push(`${upgrade ? 'upgrade ' : ''}${method} ${target} (${who}): ${problem}`);
    }
    expect(cases.length).toBeGreaterThan(50);
    expect(wrong.slice(0, 60)).toEqual([]);
  }
});

function caseOf(kind: Kind, row: PublishedRoute, method: string, target: string, key: string | null): Case {
  return { row, method, target, key, body: bodyFor(method), expected: expectedOf(kind, row, method, key) };
}

/** In the short run, a bad key and a wrong method with the master key are tried where something is served. */
function credentials({ served, methods, path }: PublishedRoute, method: string): readonly (string | null)[] {
  // To an admin it answers a stream that does not end.
  if (path === '/fleet/events') return [null, BAD_KEY, VIRTUAL_KEY];
  if (served || isLong) return [null, BAD_KEY, VIRTUAL_KEY, MASTER_KEY];
  return methods[0] === method ? [null, VIRTUAL_KEY, MASTER_KEY] : [VIRTUAL_KEY];
}

function bodyFor(method: string): string | undefined {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? undefined : '{}';
}

/** Console and login count as administration. */
function isAdministrative({ section }: PublishedRoute): boolean {
  return section === 'Management' || section === 'Console and login';
}

function needsNoKey({ section, path, served }: PublishedRoute): boolean {
  return served && (section === 'Public' || /^\/health\/(live|readiness)/.test(path));
}

function isOpen(kind: Kind, row: PublishedRoute): boolean {
  return (row.openOnAdmin || !kind.llmOff) && (row.openOnWorker || !kind.adminOff);
}

function closedSentence(row: PublishedRoute): RegExp {
  return exactly(row.openOnAdmin ? MANAGEMENT_OFF : LLM_OFF);
}

/** Whether the control process answers this row where it is open. It looks at the method before the key. */
function isControlled({ section }: PublishedRoute): boolean {
  return section === 'Management' || section === 'Console and login' || section === 'Public';
}

function expectedOf(kind: Kind, row: PublishedRoute, method: string, key: string | null): Expected {
  const known = key === VIRTUAL_KEY || key === MASTER_KEY;
  // On a busy machine it may not be found out in time that there is no such key.
  const unknown: Expected =
    key === null
      ? { status: 401, error: /No api key passed in/ }
      : { status: [401, 503], error: /Unable to find token|is not known here yet/ };
  const isOwn = row.methods.includes(method);
  if (!isOpen(kind, row)) return known ? { status: 403, error: closedSentence(row) } : unknown;

  const wrongMethod: Expected = { status: 405, error: /^Method Not Allowed$/ };
  // Where administration is off, nobody learns which methods its process would know.
  const quiet = isControlled(row) && kind.adminOff;
  const keyFirst = quiet || ['LLM routes', 'Pass-through', 'Metrics'].includes(row.section);
  if (!isOwn && !keyFirst) return wrongMethod;
  if (!known && !(isOwn && needsNoKey(row))) return unknown;
  if (!isOwn) return quiet ? { status: 404, error: /./ } : wrongMethod;
  if (!row.served) return { status: 404, error: /does not serve yet/ };
  return expectedOfServed(row, method, key);
}

/** Answers of what is served, to an empty body or query. */
function expectedOfServed({ section, path }: PublishedRoute, method: string, key: string | null): Expected {
  if (section === 'LLM routes') {
    return method === 'GET'
      ? { status: 404, error: /does not exist or you do not have access/ }
      : { status: 400, error: /Missing required parameter|Invalid model name/ };
  }
  if (section !== 'Management') return { status: 200, error: null };
  const reads = method === 'GET';
  if (key !== MASTER_KEY && path.startsWith('/fleet/')) return { status: 401, error: /Only proxy admin/ };
  if (path === '/fleet/workers' || path === '/fleet/regions' || path === '/fleet/changes') {
    return { status: 200, error: null };
  }
  if (path.startsWith('/fleet/workers/')) return { status: 404, error: /not found/ };
  // Some keys may do some of these things: what it is about is looked at first.
  const depends = /^(\/v2)?\/(key|user|team|organization|cost)\/|^\/(budget\/delete|spend\/calculate)$/.test(path);
  if (key !== MASTER_KEY && !reads) return { status: depends ? [400, 401, 403, 404, 422] : [401, 403], error: /./ };
  if (path === '/key/generate' || path === '/key/list' || path === '/spend/logs') return { status: 200, error: null };
  if (reads && path.endsWith('/model/info')) return { status: 200, error: null };
  if (path === '/model/{model_id}/update') return { status: 404, error: /not found/ };
  if (path === '/key/info') return key === VIRTUAL_KEY ? { status: 200, error: null } : { status: 404, error: /./ };
  // A list, something that is not there, or something that has to be named.
  return { status: key === MASTER_KEY ? [200, 400, 404, 422] : [200, 400, 401, 403, 404, 422], error: /./ };
}

/** An upgrade is always a GET. Where nothing takes one, the answer says so, or is that of a plain request. */
function expectedOfUpgrade(kind: Kind, row: PublishedRoute, key: string | null): Expected {
  const isLlm = row.section === 'LLM routes' || row.section === 'Pass-through' || row.section === 'Model list';
  if (isLlm || !isOpen(kind, row)) {
    if (key === null) return { status: 401, error: /No api key passed in/ };
    if (!isOpen(kind, row)) return { status: 403, error: closedSentence(row) };
  }
  if (!isControlled(row)) return { status: 400, error: /does not take WebSocket/ };
  return expectedOf(kind, row, 'GET', key);
}

function difference(expected: Expected, answer: RouteAnswer, method: string): string | null {
  const { status, text, callId } = answer;
  const statuses = [expected.status].flat();
  const shown = `${status} ${text.slice(0, 200)}`;
  if (!statuses.includes(status)) return `expected ${statuses.join(' or ')}, got ${shown}`;
  if (callId === undefined) return `no call id on ${shown}`;
  if (expected.error === null || method === 'HEAD' || status === 200) return null;
  let body: { error?: Record<string, unknown>; detail?: unknown };
  try {
    body = JSON.parse(text);
  } catch {
    return `not JSON: ${shown}`;
  }
  const message = body.error?.['message'];
  if (typeof message !== 'string' || !expected.error.test(message)) return `expected ${expected.error}, got ${shown}`;
  if (body.error?.['code'] !== String(status)) return `the code in the body is another one: ${shown}`;
  if (/disabled for this instance/.test(message) && body.detail !== message) return `no detail: ${shown}`;
  return null;
}

function exactly(text: string): RegExp {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);
}

/** The last letter percent-encoded, which changes nothing about a path. */
function encodeLetter(path: string): string {
  const at = path.search(/[a-z](?=[^a-z]*$)/);
  return `${path.slice(0, at)}%${path.charCodeAt(at).toString(16)}${path.slice(at + 1)}`;
}

function logRecords(claviger: Claviger): { readonly message: string; readonly route: string }[] {
  return claviger
    .logs()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line));
}
