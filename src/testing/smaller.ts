/** Makes a plan that fails smaller, as long as it fails in the same way: fewer commands, fewer misfortunes, fewer replicas. */
import type { Plan } from './world/plan.ts'

type List = 'asks' | 'looks' | 'operations' | 'misfortunes'
const lists: readonly List[] = ['misfortunes', 'operations', 'looks', 'asks', 'misfortunes', 'asks']

/**
 * @param fails whether a plan still fails
 * @param most so many plans are tried at most
 */
export async function smaller(plan: Plan, fails: (plan: Plan) => Promise<boolean>, most: number): Promise<Plan> {
  let best = plan
  let tried = 0
  const attempt = async (candidate: Plan): Promise<boolean> => {
    if (tried++ >= most || !(await fails(candidate))) return false
    best = candidate
    return true
  }
  for (const list of lists) {
    // Without halves, without quarters, and so on, down to single ones.
    for (let size = Math.ceil(best[list].length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let from = 0; from < best[list].length && tried < most; ) {
        const rest = best[list].toSpliced(from, size)
        if (!(await attempt({ ...best, [list]: rest }))) from += size
      }
    }
  }
  for (let node = best.nodes.length - 1; node > 0; node--) await attempt(without(best, node))
  return best
}

/** Without a replica: what was asked of it is asked of the first. */
function without(plan: Plan, node: number): Plan {
  const moved = (each: number) => (each === node ? 0 : each > node ? each - 1 : each)
  return {
    ...plan,
    nodes: plan.nodes.toSpliced(node, 1),
    asks: plan.asks.map(each => ({ ...each, node: moved(each.node) })),
    looks: plan.looks.map(each => ({ ...each, node: moved(each.node) })),
    misfortunes: plan.misfortunes
      .filter(each => !('node' in each) || each.node !== node)
      .map(each => (each.kind === 'replace' ? { ...each, from: moved(each.from) } : each))
      .map(each => ('node' in each ? { ...each, node: moved(each.node) } : each)),
  }
}
