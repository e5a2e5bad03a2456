/**
 * One simulation, from its plan to its end: traffic under faults, healing, everything live again, every block read,
 * perhaps a power cut, everything stopped, nothing left.
 */
import { WriteProtectionState } from '../../src/nvme/features.ts';
import { statusName } from '../../src/nvme/status.ts';
import { submitIo } from './client.ts';
import { inject } from './faults.ts';
import type { HostMachine } from './host-machine.ts';
import { controllerOf, lookAtProtection, setProtection } from './protect.ts';
import { reserve } from './reserve.ts';
import type { Asked } from './reservation-model.ts';
import type { Plan } from './plan.ts';
import type { NamespaceState, TargetMachine } from './target-machine.ts';
import { World, type Violation } from './world.ts';

export interface Result {
  /** Undefined: every rule held. */
  readonly failure: Violation | undefined;
  /** The same for the same plan, always and everywhere. */
  readonly hash: string;
  readonly ios: number;
  readonly events: number;
  /** Simulated seconds. */
  readonly seconds: number;
  /** What it came to, as rules saw it. */
  readonly marks: ReadonlySet<string>;
}

/** Longer than any traffic lasts. */
const TRAFFIC = 3_600_000;

export function simulate(plan: Plan, listener?: (line: string) => void): Result {
  const world = new World(plan, listener);
  for (const phase of [traffic, heal, crash, stop]) if (!phase(world)) break;
  const { clock, failure, ops, trace, marks } = world;
  return { failure, hash: trace.hash, ios: ops, events: clock.events, seconds: clock.micros / 1e6, marks };
}

function traffic(world: World): boolean {
  const { plan, clock, clients, nbdClients } = world;
  for (const target of world.targets) target.start();
  for (const host of world.hosts) host.start();
  for (const client of [...clients, ...nbdClients]) client.start();
  for (const fault of plan.faults)
    clock.after(`fault: ${fault.kind}`, fault.at * 1000, () => {
      if (!healing) inject(world, fault);
    });
  let healing = false;
  const over = world.run('the traffic to end', TRAFFIC, () =>
    [...clients, ...nbdClients].every(({ running }) => running === 0),
  );
  healing = true;
  return over;
}

/** After healing everything is live within a bound, and each side knows the same of the other. */
function heal(world: World): boolean {
  world.heal();
  return awaitLive(world) && protection(world) && release(world) && readAll(world);
}

function awaitLive(world: World): boolean {
  const { hosts, targets, bounds } = world;
  const on = world.run('machines that are stopping to start', bounds.stop, () => {
    for (const host of hosts) if (host.state === 'off') host.start();
    for (const target of targets) {
      if (target.state === 'off') target.start();
      for (const namespace of target.namespaces) if (!namespace.exported) target.toggle(namespace);
    }
    return (
      hosts.every(({ state }) => state === 'on') &&
      targets.every((target) => target.state === 'on' && target.namespaces.every(({ exported }) => exported))
    );
  });
  if (!on) return false;
  const waits = (): string | undefined => {
    for (const host of hosts) if (!host.live) return `${host.name} to have every controller live`;
    for (const host of hosts) {
      const problem = headProblem(world, host);
      if (problem !== undefined) return problem;
    }
    for (const target of targets) {
      const problem = controllerProblem(world, target);
      if (problem !== undefined) return problem;
    }
    return undefined;
  };
  return world.run(
    () => `${waits() ?? ''} after healing`,
    bounds.live,
    () => waits() === undefined,
    'LIVE',
  );
}

/** The host has a head of the right size, with all of its paths, for every namespace. */
function headProblem(world: World, host: HostMachine): string | undefined {
  for (const { plan, oracle } of world.namespaces) {
    const head = host.head(plan.nqn, plan.nsid);
    if (head?.blocks !== oracle.blocks)
      return `${host.name} to see ${oracle.blocks} blocks of ${oracle.name}, not ${head?.blocks ?? 'none'}`;
    const ways = host.ways.filter(({ nqn }) => nqn === plan.nqn).length;
    const usable = head.paths.filter((path) => path.usable).length;
    if (usable !== ways) return `${host.name} to have ${ways} paths to ${oracle.name}, not ${usable}`;
  }
  return undefined;
}

/** The target has the controllers and queues that the hosts have, and no more. */
function controllerProblem(world: World, machine: TargetMachine): string | undefined {
  for (const { nqn, controllers } of machine.target?.subsystems.values() ?? []) {
    let known = 0;
    for (const host of world.hosts)
      for (const { target, nqn: theirs, controller } of host.ways) {
        if (target !== machine || theirs !== nqn || controller === undefined) continue;
        known++;
        const queues = controllers.get(controller.cntlid)?.ioQueues.size;
        if (queues !== controller.ioConnections.length)
          return `${machine.name} to have ${controller.ioConnections.length} queues of ${host.name} ${controller.name}, not ${queues ?? 'no controller'}`;
      }
    if (known !== controllers.size)
      return `${machine.name} to have ${known} controllers of ${nqn}, not ${controllers.size}`;
  }
  return undefined;
}

/** Every host reads every block. */
function readAll(world: World): boolean {
  for (const host of world.hosts)
    for (const namespace of world.namespaces) readNamespace(world, host, namespace);
  return world.run('the last reads to end', world.bounds.io, () => world.outstanding.size === 0);
}

function readNamespace(world: World, host: HostMachine, namespace: NamespaceState): void {
  const { plan, oracle } = namespace;
  const head = host.head(plan.nqn, plan.nsid)!;
  const what = { kind: 'read', slba: 0, blocks: Math.min(oracle.blocks, 64), fua: false } as const;
  submitIo(world, host.name, host, namespace, head, what, (op, { status }) => {
    if (status === 0) {
      const excuses = { path: false, corruption: false, removed: false, aborted: false };
      oracle.end(op, 0, world.clock.micros, excuses, false);
    } else
      world.violation(
        'HEALED',
        `${host.name} cannot read ${oracle.name} after healing: ${statusName(status)}`,
        [oracle.name],
      );
  });
}

/** One host asks for one thing after the other on every namespace; every host may look at what became of it. */
function actAll(world: World, host: HostMachine, actions: readonly Asked[]): boolean {
  let left = world.namespaces.length;
  for (const namespace of world.namespaces) {
    const { plan, oracle } = namespace;
    const head = host.head(plan.nqn, plan.nsid)!;
    const step = (i: number): void => {
      const action = actions[i];
      if (action === undefined) left--;
      else
        reserve(world, host.name, host, namespace, head, action, (status) => {
          if (status === 0) step(i + 1);
          else
            world.violation(
              'HEALED',
              `${host.name}: ${action.name} on ${oracle.name}: ${statusName(status)}`,
              [oracle.name],
            );
        });
    };
    step(0);
  }
  return world.run('the last actions on reservations to end', world.bounds.io, () => left === 0);
}

/** An operator's way out: whatever is held, one host registers and clears it. */
function release(world: World): boolean {
  if (world.plan.reserveOneIn === 0) return true;
  const [host] = world.hosts;
  const key = 1n;
  return (
    actAll(world, host!, [
      { name: 'report' },
      { name: 'replace', crkey: 0n, nrkey: key, ignoreKey: true },
      { name: 'clear', crkey: key },
    ]) && world.hosts.every((each) => actAll(world, each, [{ name: 'report' }]))
  );
}

/** Held through a power loss. */
function reserveForEver(world: World): boolean {
  if (world.plan.reserveOneIn === 0) return true;
  const nrkey = 1n;
  return actAll(world, world.hosts[0]!, [
    { name: 'register', nrkey, ptpl: true },
    { name: 'acquire', crkey: nrkey, rtype: world.random.fork('held').between(1, 6) },
  ]);
}

/** Every host looks at the write protection of every namespace; one sets it before that, if it can be set. */
function protection(world: World, to?: number): boolean {
  if (world.plan.protectOneIn === 0) return true;
  let left = 0;
  const over = (): void => {
    left--;
  };
  for (const host of world.hosts)
    for (const namespace of world.namespaces) {
      const { plan } = namespace;
      const controller = controllerOf(host.head(plan.nqn, plan.nsid)!)!;
      const asker = { world, client: host.name, host, namespace, controller };
      left++;
      if (to === undefined || host !== world.hosts[0]) lookAtProtection(asker, over);
      else setProtection(asker, to, over);
    }
  return world.run('the last looks at write protection to end', world.bounds.io, () => left === 0);
}

/** The power is cut once more; what was durable is still there. */
function crash(world: World): boolean {
  if (!world.plan.crashAtEnd) return true;
  if (!reserveForEver(world) || !protection(world, WriteProtectionState.Protected)) return false;
  for (const target of world.targets) {
    world.disturb(target.name);
    target.crash();
    target.start();
  }
  return awaitLive(world) && protection(world) && release(world) && readAll(world);
}

function stop(world: World): boolean {
  const { hosts, targets, bounds } = world;
  world.trace.note('stops', 'world');
  let left = hosts.length + targets.length;
  const gone = (): void => {
    left--;
  };
  // Hosts and targets stop in any order.
  const first = world.random.fork('stop').oneIn(2) ? targets : hosts;
  for (const each of first) each.stop(gone);
  for (const each of first === hosts ? targets : hosts) each.stop(gone);
  const stopped = world.run('everything to stop', bounds.stop, () => left === 0, 'STOP');
  if (stopped) {
    world.checkAll();
    world.checkReturned();
  }
  return stopped && world.failure === undefined;
}
