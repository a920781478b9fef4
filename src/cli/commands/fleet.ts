import type { Command } from 'commander';
import { OperatorError } from '../../util/operator-error.ts';
import type { CliContext } from '../context.ts';
import { changesText, changeText } from '../fleet/changes-text.ts';
import { plural } from '../fleet/figures.ts';
import { rollBackText } from '../fleet/roll-back-text.ts';
import { statusText } from '../fleet/status-text.ts';
import { watchFleet } from '../fleet/watch-fleet.ts';
import { type ConnectionOptions, DEFAULT_URL, type ManagementClient, managementClient } from '../management-client.ts';
import { addEnrolmentCommands } from './fleet-token.ts';

interface FleetOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface ChangesOptions extends FleetOptions {
  readonly kind?: string;
  readonly object?: string;
  readonly actor?: string;
  readonly limit?: string;
  readonly before?: string;
}

interface RollBackOptions extends FleetOptions {
  readonly epoch?: string;
  readonly dry_run?: boolean;
  readonly confirm?: boolean;
}

/** `claviger fleet …`: the fleet through the management API, like any client. */
export function addFleetCommands(program: Command, context: CliContext, done: (exitCode: number) => void): Command {
  const fleet = program.command('fleet').description('see all instances, and what was changed where');
  const command = (name: string, description: string): Command =>
    fleet
      .command(name)
      .description(description)
      .option('--url <address>', `instance to call (default: ${DEFAULT_URL}) [CLAVIGER_URL]`)
      .option('--key <key>', 'key to call with [LITELLM_MASTER_KEY]')
      .option('--json', 'print what the API answers');

  command('status', 'show regions, instances and their gateway processes').action(async (options: FleetOptions) =>
    done(await status(options, context)),
  );
  command('changes', 'list changes, or show one: what was different, who made it, who has it')
    .argument('[revision]', 'show this one')
    .option('--kind <kind>', 'of this kind: key, model')
    .option('--object <id>', 'of this object; of a key its hash')
    .option('--actor <id>', 'made by this user')
    .option('--limit <number>', 'at most so many (default: 50)')
    .option('--before <position>', 'older than that, as printed at the end of a list')
    .action(async (revision: string | undefined, options: ChangesOptions) =>
      done(await changes(revision, options, context)),
    );
  command('watch', 'follow changes, arrivals and departures until it is interrupted').action(
    async (options: FleetOptions) => done(await watchFleet(managementClient(options, context.env), options, context)),
  );
  command('rollback', 'undo a change: the fields that it touched get back their old values, as a new change')
    .argument('<revision>', 'the change to undo')
    .option('--epoch <number>', 'of this epoch, when a revision exists in several (default: the newest)')
    .option('--dry_run', 'say what would be different, and change nothing')
    .option('--confirm', 'also when it lets keys do more than they may now')
    .action(async (revision: string, options: RollBackOptions) => done(await rollBack(revision, options, context)));
  command('drain', 'have an instance finish its open requests and end')
    .argument('<worker>', WORKER)
    .action(async (worker: string, options: FleetOptions) => done(await drain(worker, options, context)));
  command('resync', 'have an instance take everything that it knows anew')
    .argument('<worker>', WORKER)
    .action(async (worker: string, options: FleetOptions) => done(await resync(worker, options, context)));
  command('remove', 'forget an instance that is lost or has left')
    .argument('<worker>', WORKER)
    .action(async (worker: string, options: FleetOptions) => done(await remove(worker, options, context)));
  addEnrolmentCommands(fleet, context, done);
  return fleet;
}

async function status(options: FleetOptions, { env, out }: CliContext): Promise<number> {
  const client = managementClient(options, env);
  const [fleet, regions] = await Promise.all([get(client, '/fleet/workers'), get(client, '/fleet/regions')]);
  out(options.json ? json({ ...fleet, regions: regions.regions }) : statusText(fleet, regions));
  return 0;
}

async function changes(
  revision: string | undefined,
  options: ChangesOptions,
  { env, out }: CliContext,
): Promise<number> {
  const client = managementClient(options, env);
  if (revision !== undefined) {
    const change = await get(client, `/fleet/changes/${encodeURIComponent(revision)}`);
    out(options.json ? json(change) : changeText(change, Date.now()));
    return 0;
  }
  const query = new URLSearchParams();
  for (const name of ['kind', 'object', 'actor', 'limit', 'before'] as const) {
    const value = options[name];
    if (value !== undefined) query.set(name, value);
  }
  const list = await get(client, `/fleet/changes?${query}`);
  out(options.json ? json(list) : changesText(list, Date.now()));
  return 0;
}

async function rollBack(revision: string, options: RollBackOptions, { env, out }: CliContext): Promise<number> {
  const query = options.epoch === undefined ? '' : `?epoch=${encodeURIComponent(options.epoch)}`;
  const answer = await post(
    managementClient(options, env),
    `/fleet/changes/${encodeURIComponent(revision)}/rollback${query}`,
    { dry_run: options.dry_run === true, confirm: options.confirm === true },
  );
  out(options.json ? json(answer) : rollBackText(answer));
  return 0;
}

async function drain(given: string, options: FleetOptions, { env, out }: CliContext): Promise<number> {
  const { worker, answer } = await tellWorker('drain', given, managementClient(options, env));
  out(
    options.json
      ? json(answer)
      : `${worker} was asked to drain (${processes(answer.gateways.length)}): it finishes what is open and ends. "claviger fleet status" shows how far it is.\n`,
  );
  return 0;
}

async function resync(given: string, options: FleetOptions, { env, out }: CliContext): Promise<number> {
  const { worker, answer } = await tellWorker('resync', given, managementClient(options, env));
  out(
    options.json
      ? json(answer)
      : `${worker} was asked to take everything anew (${processes(answer.gateways.length)}): it serves from what it has until that is complete.\n`,
  );
  return 0;
}

async function remove(given: string, options: FleetOptions, { env, out }: CliContext): Promise<number> {
  const { worker, answer } = await tellWorker('remove', given, managementClient(options, env));
  out(
    options.json
      ? json(answer)
      : `${worker} is forgotten (${processes(answer.gateways_forgotten)}). It is in the list again as soon as it is heard of.\n`,
  );
  return 0;
}

const WORKER = 'its id, or the beginning of it';

async function tellWorker(
  what: 'drain' | 'remove' | 'resync',
  given: string,
  client: ManagementClient,
  // biome-ignore lint/suspicious/noExplicitAny: each command has its own answer.
): Promise<{ readonly worker: string; readonly answer: any }> {
  const worker = await findWorker(given, client);
  return { worker, answer: await post(client, `/fleet/workers/${encodeURIComponent(worker)}/${what}`) };
}

async function findWorker(given: string, client: ManagementClient): Promise<string> {
  const { workers } = await get(client, '/fleet/workers');
  const ids: string[] = workers.map(({ worker }: { worker: string }) => worker);
  const found = ids.filter((id) => id === given || id.startsWith(given));
  const [worker] = found.includes(given) ? [given] : found;
  if (worker === undefined) throw new OperatorError(`There is no worker ${given}. "claviger fleet status" lists them.`);
  if (found.length > 1 && worker !== given) {
    throw new OperatorError(`${given} is the beginning of ${found.length} ids: ${found.join(', ')}.`);
  }
  return worker;
}

function processes(count: number): string {
  return plural(count, 'gateway process', 'gateway processes');
}

// biome-ignore lint/suspicious/noExplicitAny: answers have as many shapes as there are routes.
async function post(client: ManagementClient, path: string, body?: object): Promise<any> {
  const { json: answer, problem } = await client.call('POST', path, body);
  if (problem !== null) throw new OperatorError(problem);
  return answer;
}

// biome-ignore lint/suspicious/noExplicitAny: answers have as many shapes as there are routes.
async function get(client: ManagementClient, path: string): Promise<any> {
  const { json: answer, problem } = await client.call('GET', path);
  if (problem !== null) throw new OperatorError(`${client.url}${path.split('?')[0]}: ${problem}`);
  return answer;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
