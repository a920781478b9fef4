import { readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ADMIN_FLAGS, type SharedDatabase, startSharedDatabase, WORKER_FLAGS } from '../../fleet/shared-database.ts';
import { ChaosProxy } from '../../support/chaos-proxy.ts';
import { type Claviger, freePort, startClaviger, temporaryDirectory } from '../../support/processes.ts';
import { processTree, type RunningProcess, runningProcesses } from '../../support/processes-table.ts';
import { until } from '../../support/until.ts';
import { startUpstream, type UpstreamServer } from '../../support/upstream-server.ts';
import { ManagementClient } from './management-client.ts';
import { JOINED, type MemberName, type ProcessRole, WORKERS, type WorkerName } from './schedule.ts';

export const MODEL = 'chaos';
export const PRICES = { promptNano: 2_500, completionNano: 10_000 };
const NANO_PER_DOLLAR = 1e9;
const MASTER_KEY = 'sk-master-of-the-fleet-chaos';
/** What is confirmed has to survive the end of the database. */
const DURABLE = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' };
const READY_MS = 90_000;
/** SIGTERM, then this long until everything has ended. */
const STOP_MS = 30_000;

/** One instance of the fleet, over all its lives. */
export interface Member {
  readonly name: MemberName;
  readonly dir: string;
  claviger: Claviger;
  /** Lives that were ended with SIGKILL. */
  readonly former: Claviger[];
  /** On its way to the fleet; the admin has none. */
  readonly proxy: ChaosProxy | null;
  /** Deaths that the run has caused, by role. */
  readonly kills: Record<ProcessRole, number>;
  readonly start: () => Promise<Claviger>;
}

/** An admin, two workers in each of two regions, and one that has joined, on one PostgreSQL, with a provider that keeps books. */
export class ChaosFleet {
  readonly dir: string;
  readonly database: SharedDatabase;
  readonly upstream: UpstreamServer;
  readonly management: ManagementClient;
  readonly members: ReadonlyMap<MemberName, Member>;
  /** Every process that was ever seen as part of it. */
  readonly #known = new Map<number, RunningProcess>();

  private constructor(
    dir: string,
    database: SharedDatabase,
    upstream: UpstreamServer,
    management: ManagementClient,
    members: ReadonlyMap<MemberName, Member>,
  ) {
    this.dir = dir;
    this.database = database;
    this.upstream = upstream;
    this.management = management;
    this.members = members;
  }

  static async start(fenceMs: number): Promise<ChaosFleet> {
    const dir = await temporaryDirectory('claviger-fleet-chaos-');
    const undo: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true, force: true, maxRetries: 5 })];
    try {
      const database = await startSharedDatabase({ serverSettings: DURABLE });
      undo.push(() => database.stop());
      const upstream = await startUpstream();
      undo.push(() => upstream.stop());
      const members = new Map<MemberName, Member>();
      const fence = { CLAVIGER_FENCE: `${fenceMs / 1_000}s`, LITELLM_LOG: 'WARNING' };
      const add = async (name: MemberName, proxy: ChaosProxy | null, env: Record<string, string | undefined>) => {
        const member = await startMember(dir, name, proxy, { ...fence, ...env });
        undo.push(() => stopMember(member));
        members.set(name, member);
        return member;
      };
      const shared = { LITELLM_MASTER_KEY: MASTER_KEY, LITELLM_SALT_KEY: undefined };
      const admin = await add('admin', null, { ...shared, ...ADMIN_FLAGS, DATABASE_URL: database.url });
      const management = new ManagementClient(admin.claviger.port, MASTER_KEY);
      await addModel(management, upstream.port);
      for (const name of WORKERS) {
        const { hostname, port } = new URL(name === JOINED ? admin.claviger.url : database.url);
        const proxy = await ChaosProxy.start({ host: hostname, port: Number(port) });
        undo.push(() => proxy.close());
        await add(
          name,
          proxy,
          name === JOINED
            ? await joined(management, name, proxy.port)
            : {
                ...shared,
                ...WORKER_FLAGS,
                CLAVIGER_REGION: regionOf(name),
                DATABASE_URL: through(database.url, proxy),
              },
        );
      }
      return new ChaosFleet(dir, database, upstream, management, members);
    } catch (error) {
      for (const step of undo.reverse()) await step();
      throw error;
    }
  }

  member(name: MemberName): Member {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`there is no member ${name}`);
    return member;
  }

  get workers(): Member[] {
    return WORKERS.map((name) => this.member(name));
  }

  /** The instance id is a name of the data directory, whoever runs on it. */
  instanceIdOf(name: MemberName): string {
    return JSON.parse(readFileSync(join(this.member(name).dir, 'instance.json'), 'utf8')).instanceId;
  }

  /** To be called now and then: an orphan has lost the parent that would lead to it. */
  remember(): void {
    for (const { claviger } of this.members.values())
      for (const process of processTree(claviger.pids().supervisor)) this.#known.set(process.pid, process);
  }

  /** Ends everything with SIGTERM; a sentence for each process that is left then, or ended with another code than 0. */
  async end(): Promise<string[]> {
    this.remember();
    const problems = (await Promise.all([...this.members.values()].map((member) => endMember(member)))).flat();
    const left = await until('nothing is left', () => (this.#left().length === 0 ? [] : null), 5_000).catch(() =>
      this.#left(),
    );
    problems.push(...left.map(({ command, pid }) => `process ${pid} is left over: ${command}`));
    return problems;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.members.values()].map((member) => stopMember(member)));
    for (const { proxy } of this.members.values()) await proxy?.close();
    await this.upstream.stop();
    await this.database.stop();
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #left(): RunningProcess[] {
    const running = new Map(runningProcesses().map((process) => [process.pid, process]));
    return [...this.#known.values()].filter(({ command, pid }) => running.get(pid)?.command === command);
  }
}

/** `eu-0` is in region `eu`. */
export function regionOf(name: WorkerName): string {
  return name.split('-')[0]!;
}

/** A model of the fleet that leads to the provider of the run. */
export async function addModel(management: ManagementClient, upstreamPort: number, name = MODEL): Promise<string> {
  const answer = await management.send('POST', '/model/new', {
    model_name: name,
    litellm_params: {
      model: `openai/${name}`,
      api_base: `http://127.0.0.1:${upstreamPort}/v1`,
      api_key: 'sk-of-the-provider',
      input_cost_per_token: PRICES.promptNano / NANO_PER_DOLLAR,
      output_cost_per_token: PRICES.completionNano / NANO_PER_DOLLAR,
    },
    model_info: { id: `id-of-${name}` },
  });
  if (answer?.status !== 200) throw new Error(`no model: ${answer?.status} ${answer?.text}`);
  return `id-of-${name}`;
}

async function startMember(
  base: string,
  name: MemberName,
  proxy: ChaosProxy | null,
  env: Record<string, string | undefined>,
): Promise<Member> {
  const dir = join(base, name);
  await mkdir(dir, { mode: 0o711 });
  const port = await freePort();
  const start = (): Promise<Claviger> =>
    startClaviger({ dir, args: ['--port', `${port}`], env, readyWithinMs: READY_MS });
  const kills = { gateway: 0, control: 0, supervisor: 0 };
  return { name, dir, claviger: await start(), former: [], proxy, kills, start };
}

async function joined(management: ManagementClient, name: WorkerName, port: number) {
  const answer = await management.send('POST', '/fleet/join-token', { region: regionOf(name) });
  if (answer?.status !== 200) throw new Error(`no token: ${answer?.status} ${answer?.text}`);
  return {
    CONTROL_PLANE_URL: `http://127.0.0.1:${port}`,
    // Used once: later lives have their identity on disk.
    CLAVIGER_JOIN_TOKEN: answer.json().token as string,
    LITELLM_MASTER_KEY: undefined,
    LITELLM_SALT_KEY: undefined,
  };
}

function through(databaseUrl: string, proxy: ChaosProxy): string {
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${proxy.port}`;
  return url.href;
}

async function endMember({ claviger, name }: Member): Promise<string[]> {
  const { supervisor } = claviger.pids();
  const early = await Promise.race([claviger.exited, Promise.resolve('running' as const)]);
  if (early !== 'running') return [`${name} had ended by itself (${early}): ${claviger.logs().slice(-1_000)}`];
  process.kill(supervisor, 'SIGTERM');
  const code = await Promise.race([claviger.exited, late(STOP_MS)]);
  return code === 0 ? [] : [`${name} ended with ${code}: ${claviger.logs().slice(-1_000)}`];
}

function late(milliseconds: number): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve(`nothing within ${milliseconds} ms`), milliseconds).unref());
}

async function stopMember({ claviger, former }: Member): Promise<void> {
  for (const instance of [claviger, ...former]) await instance.stop();
}
