import type { Deployment } from './deployment.ts';

/**
 * The deployments to try for one call, first to last, each at most once: the lowest `order` first, within it a random
 * draw without replacement, weighted by `weight`. A weight of 0 is drawn only after all others. `random` gives numbers in
 * [0, 1).
 */
export function planAttempts<D extends Pick<Deployment, 'order' | 'weight'>>(
  deployments: readonly D[],
  numRetries: number,
  random: () => number,
): readonly D[] {
  const attemptsMax = Math.max(1, numRetries + 1);
  if (deployments.length <= 1) return deployments;
  const left = [...deployments];
  const plan: D[] = [];
  while (left.length > 0 && plan.length < attemptsMax) {
    const index = drawIndex(left, random);
    plan.push(...left.splice(index, 1));
  }
  return plan;
}

function drawIndex(deployments: readonly Pick<Deployment, 'order' | 'weight'>[], random: () => number): number {
  let order = Number.POSITIVE_INFINITY;
  for (const deployment of deployments) if (deployment.order < order) order = deployment.order;
  let total = 0;
  let count = 0;
  for (const deployment of deployments) {
    if (deployment.order !== order) continue;
    total += Math.max(0, deployment.weight);
    count++;
  }
  // Only weights of 0 are left: each is as likely as the others.
  let rest = random() * (total > 0 ? total : count);
  let last = -1;
  for (const [index, deployment] of deployments.entries()) {
    if (deployment.order !== order) continue;
    const weight = total > 0 ? Math.max(0, deployment.weight) : 1;
    if (weight === 0) continue;
    last = index;
    rest -= weight;
    if (rest < 0) return index;
  }
  // Reached only when rounding left a remainder: the draw was at the very end.
  return last;
}
