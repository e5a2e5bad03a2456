/**
 * QUIESCE.10: what a target says of its namespaces, a host that can hear it knows a moment later, whatever I/O is under
 * way, waits or hangs: ANA states and sizes are neither told nor asked for through the head.
 */
import type { HostMachine, Way } from './host-machine.ts';
import type { TargetMachine } from './target-machine.ts';
import type { World } from './world.ts';

/** Microseconds until a host knows. */
const BOUND = 3_000_000;
/** After its last fault a link needs a while to be itself again. */
const QUIET = 1_000_000;

/** From now on the target says something else than before. */
export function expectTold(world: World, machine: TargetMachine): void {
  const change = ++machine.changes;
  const { process } = machine;
  for (const host of world.hosts)
    for (const way of host.ways) {
      const association = way.target === machine ? way.controller?.association : undefined;
      if (association?.open !== true || way.controller?.usable !== true || !isQuiet(world, host, way))
        continue;
      world.clock.after(`${host.name} knows what ${machine.name} says`, BOUND, () => {
        const same = machine.process === process && machine.changes === change && association.open;
        if (!same || way.controller?.association !== association || !isQuiet(world, host, way)) return;
        const problem = notKnown(machine, way);
        if (problem !== undefined)
          world.violation('QUIESCE.10', `${host.name} does not know after ${BOUND / 1e6} s: ${problem}`, [
            host.name,
          ]);
        else if ([...world.outstanding].some(({ op }) => world.clock.micros - op.start > BOUND))
          world.mark('QUIESCE.10 a change was known, and I/O was under way all the time');
      });
    }
}

function isQuiet(world: World, { name }: HostMachine, { address }: Way): boolean {
  const link = world.net.links.get(`${name}→${address}`);
  if (link === undefined) return false;
  const { blackhole, corrupt, disturbedUntil } = link;
  return (
    !blackhole.up &&
    !blackhole.down &&
    corrupt.up + corrupt.down === 0 &&
    disturbedUntil + QUIET < world.clock.micros
  );
}

function notKnown(machine: TargetMachine, { controller, address, nqn }: Way): string | undefined {
  const port = machine.target?.ports.list.find((each) => each.address.host === address);
  const side = controller?.subsystem?.sides.get(controller);
  if (port === undefined || side === undefined) return undefined;
  for (const { plan, made, volume } of machine.namespaces) {
    const path = plan.nqn === nqn ? side.paths.get(plan.nsid) : undefined;
    if (path === undefined || made === undefined || made.removed || volume === undefined) continue;
    const state = port.ana.state(made.anagrpid);
    if (path.ana !== state) return `${path.name} is in state ${state}, not ${path.ana ?? 'unknown'}`;
    if (path.info.blocks !== made.blocks)
      return `${path.name} has ${made.blocks} blocks, not ${path.info.blocks}`;
  }
  return undefined;
}
