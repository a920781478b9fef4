import type { ServeFlags } from '../../settings/resolve-settings.ts';
import type { CliContext } from '../context.ts';

/** The program is loaded only now, so that every other command starts without it. */
export async function runServe(flags: ServeFlags, { cwd, env }: CliContext): Promise<number> {
  const { serve } = await import('../../main.ts');
  return serve({ flags, env, cwd });
}
