import type { Command } from 'commander';
import { OperatorError } from '../../util/operator-error.ts';
import type { CliContext } from '../context.ts';
import { type ConnectionOptions, DEFAULT_URL, managementClient } from '../management-client.ts';

export interface FleetTokenOptions extends ConnectionOptions {
  readonly region: string;
  readonly ttl?: string;
  readonly json?: boolean;
}

/** `claviger fleet token` and `claviger fleet revoke`: who may be part of the fleet. */
export function addEnrolmentCommands(fleet: Command, context: CliContext, done: (exitCode: number) => void): void {
  withConnection(fleet.command('token'))
    .description('make a token with which one worker joins, once')
    .requiredOption('--region <name>', 'region of the worker')
    .option('--ttl <duration>', 'how long the token can be used, for example 5m (default: 10m)')
    .option('--json', 'print the answer as JSON')
    .action(async (options: FleetTokenOptions) => done(await runFleetToken(options, context)));
  withConnection(fleet.command('revoke'))
    .description('take the credential of a joined worker away')
    .argument('<worker>', 'id of the instance')
    .action(async (worker: string, options: ConnectionOptions) => done(await runFleetRevoke(worker, options, context)));
}

/** Prints the token with the command that uses it. */
export async function runFleetToken(options: FleetTokenOptions, { env, out }: CliContext): Promise<number> {
  const { region, ttl } = options;
  const client = managementClient(options, env);
  const { json, problem } = await client.call('POST', '/fleet/join-token', {
    region,
    ...(ttl === undefined ? {} : { ttl }),
  });
  if (problem !== null) throw new OperatorError(`${client.url} made no token: ${problem}`);
  if (options.json === true) {
    out(`${JSON.stringify(json, null, 2)}\n`);
    return 0;
  }
  out(
    [
      `A worker joins region ${json.region} with this, once, until ${json.expires_at}:`,
      '',
      `  CONTROL_PLANE_URL=${client.url} \\`,
      `  CLAVIGER_JOIN_TOKEN=${json.token} \\`,
      '  claviger serve',
      '',
      'Later starts need CONTROL_PLANE_URL only. It has to be an address of an admin that the worker can reach.',
      '',
    ].join('\n'),
  );
  return 0;
}

export async function runFleetRevoke(
  worker: string,
  options: ConnectionOptions,
  { env, out }: CliContext,
): Promise<number> {
  const client = managementClient(options, env);
  const { problem } = await client.call('POST', `/fleet/workers/${encodeURIComponent(worker)}/revoke`);
  if (problem !== null) throw new OperatorError(`${client.url} did not revoke ${worker}: ${problem}`);
  out(
    `${worker} is revoked: its requests are refused. It serves on from what it knows up to the fence, so stop it where it runs, and change the provider keys that it knew.\n`,
  );
  return 0;
}

function withConnection(command: Command): Command {
  return command
    .option('--url <address>', `instance to call (default: ${DEFAULT_URL}) [CLAVIGER_URL]`)
    .option('--key <key>', 'key to call with [LITELLM_MASTER_KEY]');
}
