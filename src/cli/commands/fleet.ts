import type { Command } from 'commander';
import { OperatorError } from '../../util/operator-error.ts';
import type { CliContext } from '../context.ts';
import { changesText, changeText } from '../fleet/changes-text.ts';
import { plural } from '../fleet/figures.ts';
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
  command('drain', 'have an instance finish its open requests and end')
    .argument('<worker>', 'its id, or the beginning of it')
    .action(async (worker: string, options: FleetOptions) => done(await drain(worker, options, context)));
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

async function drain(given: string, options: FleetOptions, { env, out }: CliContext): Promise<number> {
  const client = managementClient(options, env);
  const { workers } = await get(client, '/fleet/workers');
  const ids: string[] = workers.map(({ worker }: { worker: string }) => worker);
  const found = ids.filter((id) => id === given || id.startsWith(given));
  const [worker] = found.includes(given) ? [given] : found;
  if (worker === undefined) throw new OperatorError(`There is no worker ${given}. "claviger fleet status" lists them.`);
  if (found.length > 1 && worker !== given) {
    throw new OperatorError(`${given} is the beginning of ${found.length} ids: ${found.join(', ')}.`);
  }
  const answer = await client.call('POST', `/fleet/workers/${encodeURIComponent(worker)}/drain`);
  if (answer.problem !== null) throw new OperatorError(answer.problem);
  const { gateways } = answer.json;
  out(
    options.json
      ? json(answer.json)
      : `${worker} was asked to drain (${plural(gateways.length, 'gateway process', 'gateway processes')}): it finishes what is open and ends. "claviger fleet status" shows how far it is.\n`,
  );
  return 0;
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
