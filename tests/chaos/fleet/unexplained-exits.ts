import type { Member } from './chaos-fleet.ts';

const ENDED = /(gateway process \d+|control process) ended and is started again.*/g;

/** Deaths that the supervisors of a member have told of and the run has not caused, a sentence each. */
export function unexplainedExits({
  claviger,
  former,
  kills,
  name,
}: Pick<Member, 'claviger' | 'former' | 'kills' | 'name'>): string[] {
  const ends = [...former, claviger].flatMap((life) => [...life.logs().matchAll(ENDED)].map(([line]) => line));
  const problems = ends.filter((line) => !line.includes('SIGKILL')).map((line) => `${name}: ${line}`);
  for (const role of ['gateway', 'control'] as const) {
    const told = ends.filter((line) => line.startsWith(`${role} process`)).length;
    // A supervisor that was killed itself can not tell.
    if (told === 0 && kills[role] > 0 && former.length === 0)
      problems.push(`${name}: of ${kills[role]} killed ${role} processes nothing was told`);
    if (told > kills[role]) problems.push(`${name}: ${told} ${role} processes ended, ${kills[role]} were killed`);
  }
  return problems;
}
