/** What is done to a world while it works. A fault is plain data; `which` is taken modulo what there is. */
import { AnaState } from '../../src/nvme/ana-log.ts';
import type { DiskFault } from './disk.ts';
import type { HostMachine, Way } from './host-machine.ts';
import type { SimRandom } from './random.ts';
import type { NamespaceState, TargetMachine } from './target-machine.ts';
import type { World } from './world.ts';

/** To one link. */
const LINK = [
  'cut',
  'host side reset',
  'target side reset',
  'stall up',
  'stall down',
  'blackhole up',
  'blackhole down',
  'blackhole both',
  'refuse connects',
  'slow connects',
  'corrupt',
  'slow close',
] as const;
/** To one target. */
const MACHINE = ['stop', 'kill', 'crash'] as const;
/** To one disk. */
const DISK: readonly DiskFault[] = [
  'read EIO',
  'read short',
  'write EIO',
  'write ENOSPC',
  'sync EIO',
  'punch ENOTSUP',
];
/** By an operator of a host: a controller, its ports, its heads, the whole process. */
const HOST_OPERATOR = [
  'disconnect',
  'reset controller',
  'remote port away',
  'local port away',
  'stay away',
  'restart host',
  'delayed removal',
  'discover',
] as const;
/** In scenarios only: where it does not hit, it is a `disconnect`. */
const IN_TIME = 'return with timer';
/** By an operator of a target: a namespace, its size, its group; a port and its states; a controller. */
const OPERATOR = [
  ...HOST_OPERATOR,
  'toggle namespace',
  'grow namespace',
  'disable namespace',
  'move namespace',
  'ana state',
  'port goes',
  'kick controller',
  'replace namespace',
  'number of queues',
] as const;

const ANA_STATES = [
  AnaState.NonOptimized,
  AnaState.Inaccessible,
  AnaState.Change,
  AnaState.PersistentLoss,
] as const;

/** By an operator, to a whole subsystem. */
const DELETE = 'delete subsystem';

export type FaultKind =
  | (typeof LINK)[number]
  | (typeof MACHINE)[number]
  | DiskFault
  | (typeof OPERATOR)[number]
  | typeof DELETE
  | typeof IN_TIME;

/** A socket cannot read what it was lent: costs a connection. */
const LENT: DiskFault = 'send EFAULT';

/** Those that only scenarios ask for: they are stories, and most of them need others around them. */
const STORIES: readonly FaultKind[] = [
  'slow close',
  'stay away',
  'restart host',
  'delayed removal',
  'discover',
  'replace namespace',
  'number of queues',
];

const ALL: readonly FaultKind[] = [...LINK, ...MACHINE, ...DISK, ...OPERATOR, LENT, DELETE];

/** What seeds draw. */
export const FAULT_KINDS = ALL.filter((kind) => !STORIES.includes(kind));

export interface Fault {
  readonly kind: FaultKind;
  /** ms from the start; how long it lasts, where that means something. */
  readonly at: number;
  readonly ms: number;
  readonly which: number;
  /** Segments to damage, calls to fail. */
  readonly count: number;
}

export function drawFault(random: SimRandom, kinds: readonly FaultKind[], duration: number): Fault {
  return {
    kind: random.pick(kinds),
    at: random.below(duration),
    ms: random.pick([1, 20, 500, 4000, 20_000]),
    which: random.below(64),
    count: random.between(1, 4),
  };
}

export const faultText = ({ kind, at, ms, which, count }: Fault): string =>
  `${kind} at ${at} ms, for ${ms} ms, on ${which}, ${count} times`;

/** Does it, and undoes it when its time is over. */
export function inject(world: World, fault: Fault): void {
  world.trace.note(`fault: ${fault.kind}`, 'world', fault.which, fault.ms);
  const { kind } = fault;
  if ((LINK as readonly string[]).includes(kind)) injectLink(world, fault);
  else if ((MACHINE as readonly string[]).includes(kind)) injectMachine(world, fault);
  else if (kind === IN_TIME || (OPERATOR as readonly string[]).includes(kind)) operate(world, fault);
  else {
    const namespace = world.namespaces[fault.which % world.namespaces.length]!;
    if (kind === DELETE) {
      const machine = world.machineOf(namespace);
      world.disturb(machine.name);
      machine.deleteSubsystem(namespace.plan.nqn, fault.ms);
      return;
    }
    if (kind === LENT) world.disturb(world.machineOf(namespace).name);
    namespace.disk.arm(kind as DiskFault, fault.count);
  }
}

function injectLink(world: World, { kind, which, ms, count }: Fault): void {
  const { clock } = world;
  const links = [...world.net.links.values()];
  const link = links[which % links.length];
  if (link === undefined) return;
  world.disturb(link.name.split('→')[0]!);
  link.disturbedUntil = Math.max(link.disturbedUntil, clock.micros + ms * 1000);
  const later = (undo: () => void): void =>
    void clock.after(`${link.name}: the end of ${kind}`, ms * 1000, undo);
  const wires = [...link.wires];
  const wire = wires[which % (wires.length || 1)];
  switch (kind) {
    case 'cut':
      for (const each of wires) {
        each.client.gone('ECONNRESET: cut');
        each.server.gone('ECONNRESET: cut');
      }
      return;
    case 'host side reset':
      wire?.client.gone('ECONNRESET: injected');
      return;
    case 'target side reset':
      wire?.server.gone('ECONNRESET: injected');
      return;
    case 'stall up':
      link.stall('up', ms * 1000);
      return;
    case 'stall down':
      link.stall('down', ms * 1000);
      return;
    case 'refuse connects':
      link.refusing = true;
      later(() => {
        link.refusing = false;
      });
      return;
    case 'slow connects':
      link.connectDelay = ms * 1000;
      later(() => {
        link.connectDelay = 0;
      });
      return;
    case 'slow close':
      link.closeDelay = ms * 1000;
      later(() => {
        link.closeDelay = 0;
      });
      return;
    case 'corrupt':
      link.corrupt[which % 2 === 0 ? 'up' : 'down'] += count;
      return;
    default:
      for (const direction of ['up', 'down'] as const)
        if (kind.endsWith('both') || kind.endsWith(direction)) {
          link.setBlackhole(direction, true);
          later(() => link.setBlackhole(direction, false));
        }
  }
}

function injectMachine(world: World, { kind, which, ms }: Fault): void {
  const machine = world.targets[which % world.targets.length]!;
  world.disturb(machine.name);
  const startAgain = (): void =>
    void world.clock.after(`${machine.name} starts again`, ms * 1000, () => machine.start());
  if (kind === 'stop') machine.stop(startAgain);
  else {
    if (kind === 'kill') machine.kill();
    else machine.crash();
    startAgain();
  }
}

function operate(world: World, fault: Fault): void {
  const { kind, which, count } = fault;
  if (kind === IN_TIME || (HOST_OPERATOR as readonly string[]).includes(kind)) {
    const ways = world.hosts.flatMap((host) => host.ways.map((way) => ({ host, way })));
    const { host, way } = ways[which % ways.length]!;
    world.disturb(host.name);
    operateHost(world, host, way, fault);
    return;
  }
  const namespace = world.namespaces[which % world.namespaces.length]!;
  const machine = world.machineOf(namespace);
  if (operateTarget(world, machine, namespace, fault)) return;
  // A path that goes, or is of another size for a moment, cannot be used.
  world.disturb(machine.name);
  // A few times in a row: the second change comes while hosts still look at the first.
  for (let i = 0; i < count; i++)
    world.clock.after(`${machine.name}: ${kind}`, i * which * 100, () => {
      if (kind === 'toggle namespace') machine.toggle(namespace);
      else machine.grow(namespace, 4);
    });
}

function operateHost(world: World, host: HostMachine, way: Way, { kind, which, count, ms }: Fault): void {
  const { operator } = host;
  switch (kind) {
    case 'disconnect':
      operator.disconnect(way);
      return;
    case 'stay away':
      operator.stayAway(way, ms);
      return;
    case 'reset controller':
      for (let i = 0; i < count; i++)
        world.clock.after(`${host.name}: reset`, i * which * 100, () => operator.reset(way));
      return;
    case 'restart host':
      host.restart(ms, count % 2 === 0);
      return;
    case 'delayed removal':
      operator.setDelayedRemoval(way, count);
      return;
    case 'discover':
      operator.discover(way, ms);
      return;
    case IN_TIME:
      operator.returnWithTimer(way, count);
      return;
    default:
      operator.portAway(way, kind === 'local port away', ms, count, which % 4);
  }
}

/** What changes on the target and is undone after a while; false: it is something else. */
function operateTarget(
  world: World,
  machine: TargetMachine,
  namespace: NamespaceState,
  { kind, which, count, ms }: Fault,
): boolean {
  const undo = (what: () => void): void =>
    void world.clock.after(`${machine.name}: the end of ${kind}`, ms * 1000, what);
  switch (kind) {
    case 'disable namespace':
      machine.disable(namespace);
      undo(() => machine.enable(namespace));
      break;
    case 'move namespace':
      machine.move(namespace, 1 + (which % 3));
      break;
    case 'ana state':
      machine.setAna(which, 1 + (count % 3), ANA_STATES[which % ANA_STATES.length]!);
      undo(() => machine.setAna(which, 1 + (count % 3), AnaState.Optimized));
      break;
    case 'port goes':
      machine.closePort(which);
      undo(() => machine.openPorts());
      break;
    case 'kick controller':
      machine.kick(which);
      break;
    case 'replace namespace':
      machine.replace(namespace);
      undo(() => machine.restore(namespace));
      break;
    case 'number of queues':
      machine.setIoQueues(namespace.plan.nqn, count);
      undo(() => machine.setIoQueues(namespace.plan.nqn, undefined));
      break;
    default:
      return false;
  }
  world.disturb(machine.name);
  return true;
}
