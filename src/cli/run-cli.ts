import { Command, CommanderError } from 'commander';
import { nearestName } from '../util/nearest-name.ts';
import { OperatorError } from '../util/operator-error.ts';
import { packageVersion } from '../util/package-version.ts';
import { redactError } from '../util/redact.ts';
import type { DemoOptions } from './commands/demo.ts';
import { type DoctorOptions, runDoctor } from './commands/doctor.ts';
import { addFleetCommands } from './commands/fleet.ts';
import { runMigrate } from './commands/migrate.ts';
import { runModelsApply } from './commands/models.ts';
import { runServe } from './commands/serve.ts';
import type { CliContext } from './context.ts';
import { type ConnectionOptions, DEFAULT_URL } from './management-client.ts';
import { SERVE_OPTIONS, serveFlags } from './serve-options.ts';

/** Exit codes: 0 done, 1 failed, 2 the command line was wrong. */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  let exitCode = 0;
  const program = buildProgram(context, (code) => {
    exitCode = code;
  });
  const [command] = args;
  const commands = program.commands.map((known) => known.name());
  if (command !== undefined && !command.startsWith('-') && !commands.includes(command)) {
    const nearest = nearestName(command, commands);
    const suggestion = nearest === null ? '' : ` Did you mean ${nearest}?`;
    context.err(`claviger: "${command}" is not a command.${suggestion} ${SEE_HELP}\n`);
    return 2;
  }
  try {
    await program.parseAsync(args.map(withUnderscores), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are "errors" with code 0 and have been written already.
      if (error.exitCode === 0) return 0;
      context.err(`claviger: ${sentence(error.message)} ${SEE_HELP}\n`);
      return 2;
    }
    context.err(`claviger: ${explain(error)}\n`);
    return 1;
  }
}

const SEE_HELP = 'Run "claviger --help" or "claviger <command> --help".';

function buildProgram(context: CliContext, done: (exitCode: number) => void): Command {
  const program = new Command('claviger')
    .description('An LLM gateway with a multi-region control plane.')
    .version(packageVersion(), '-v, --version', 'print the version')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeOut: context.out, writeErr: context.err, outputError: () => undefined });

  const serve = program.command('serve', { isDefault: true }).description('run an instance (the default command)');
  for (const { flags, meaning, variable } of SERVE_OPTIONS) serve.option(flags, `${meaning} [${variable}]`);
  serve.action(async (options: Record<string, unknown>) => done(await runServe(serveFlags(options), context)));

  program
    .command('doctor')
    .description('check configuration, data directory, database, clock and providers, and say what to do')
    .option('-c, --config <path>', 'config.yaml to read [CONFIG_FILE_PATH]')
    .option('--json', 'print the result as JSON')
    .option('--bundle <path>', 'also write a file to send to somebody who helps, without secrets')
    .action(async (options: DoctorOptions) => done(await runDoctor(options, context)));

  program
    .command('migrate')
    .description('bring the database schema of DATABASE_URL up to this version')
    .option('-c, --config <path>', 'config.yaml to read [CONFIG_FILE_PATH]')
    .option('--check', 'change nothing; fail when the schema is not up to date')
    .action(async (options: { config?: string; check?: boolean }) => done(await runMigrate(options, context)));

  program
    .command('demo')
    .description('run an admin, two regions and their database on this machine, with a tour to follow')
    .option('--run', 'make the tour, say what was seen, and end')
    .option('--dir <path>', 'directory for everything, kept at the end (default: a temporary one)')
    .action(async (options: DemoOptions) => {
      const { runDemo } = await import('./commands/demo.ts');
      done(await runDemo(options, context));
    });

  program
    .command('models')
    .description('models of the whole fleet, which live in the database')
    .command('apply')
    .description('bring the models of the database to the model_list of a file, through the management API')
    .argument('<file>', 'config.yaml to read')
    .option('--url <address>', `instance to call (default: ${DEFAULT_URL}) [CLAVIGER_URL]`)
    .option('--key <key>', 'key to call with [LITELLM_MASTER_KEY]')
    .option('--dry_run', 'change nothing; validate, and say what would happen')
    .option('--prune', 'delete models of the database that the file does not have')
    .action(async (file: string, options: ConnectionOptions & { dry_run?: boolean; prune?: boolean }) =>
      done(await runModelsApply(file, { ...options, dryRun: options.dry_run === true }, context)),
    );

  addFleetCommands(program, context, done);

  program
    .command('version')
    .description('print the version')
    .action(() => context.out(`${packageVersion()}\n`));

  return program;
}

/** LiteLLM spells its options with underscores; `--num-workers` is taken as `--num_workers`. */
function withUnderscores(argument: string): string {
  const [, name, rest] = /^--([a-z][a-z_-]*)(=.*)?$/is.exec(argument) ?? [];
  return name === undefined ? argument : `--${name.replaceAll('-', '_')}${rest ?? ''}`;
}

/** Commander's `error: unknown option '--foo'` followed by a suggestion in brackets, as sentences. */
function sentence(message: string): string {
  const [first = '', ...rest] = message.replace(/^error: /, '').split('\n');
  const suggestion = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  return [`${first.replace(/\.$/, '')}.`, suggestion].filter((text) => text !== '').join(' ');
}

function explain(error: unknown): string {
  const { message, stack } = redactError(error);
  // Whatever is not meant for the operator is a mistake of ours, and then the stack is what a report needs.
  return error instanceof OperatorError ? message : (stack ?? message);
}
