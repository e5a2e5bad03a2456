/**
 * What a simulation is made of, as plain data: topology, behaviour of links and disks, workload, faults. A seed draws
 * all of it (`swarm`), a scenario says what it cares about, and shrinking takes away from it.
 */
import type { Limits as HostLimits } from '../../src/initiator/limits.ts';
import type { Recovery } from '../../src/initiator/recovery.ts';
import { IO_POLICIES } from '../../src/initiator/select.ts';
import type { HeadSettings } from '../../src/initiator/subsystem.ts';
import type { Limits as TargetLimits } from '../../src/target/limits.ts';
import type { DiskOptions } from './disk.ts';
import type { Fault } from './faults.ts';
import { FAULT_KINDS, drawFault } from './faults.ts';
import type { LinkOptions } from './link.ts';
import { SimRandom } from './random.ts';

export interface Plan {
  readonly seed: number;
  readonly hosts: number;
  readonly targets: number;
  /** Addresses of each target; the last one may appear later. */
  readonly addresses: number;
  /** When the last address of each target appears, ms. */
  readonly lastAddressAt: number;
  /** In all; they go round the targets. */
  readonly subsystems: number;
  /** Namespaces of each subsystem, and their size. */
  readonly namespaces: number;
  readonly blocks: number;
  /** Each of them is one host's, and one controller's at a time (LIFE.4). */
  readonly privateNamespaces: boolean;
  /** Controllers of each host for each subsystem, at most one for each address. */
  readonly ways: number;
  readonly ioQueues: number;
  /** Entries of an I/O queue; one less is its depth. */
  readonly queueEntries: number;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly disableSqFlow: boolean;
  /** ms; 0: none. */
  readonly kato: number;
  readonly link: LinkOptions;
  readonly disk: Omit<DiskOptions, 'size'>;
  readonly targetLimits: Partial<TargetLimits>;
  readonly hostLimits: Partial<HostLimits>;
  /** How hosts deal with controllers that are lost. */
  readonly recovery: Partial<Recovery>;
  /** How heads use their paths, and how long they live without one. */
  readonly heads: Partial<HeadSettings>;
  /** A first connect that fails is tried again by the controller itself. */
  readonly keepTrying: boolean;
  /** In all; they go round the hosts. */
  readonly clients: number;
  /** I/Os of all clients together. */
  readonly ios: number;
  /** NBD clients; they go round the hosts. */
  readonly nbdClients: number;
  /** I/Os of one client at once. */
  readonly depth: number;
  /** The most blocks of one I/O. */
  readonly ioBlocks: number;
  /** One in so many; 0: none. */
  readonly fuaOneIn: number;
  readonly flushOneIn: number;
  readonly eraseOneIn: number;
  readonly abandonOneIn: number;
  readonly swapOneIn: number;
  readonly copyOneIn: number;
  readonly reserveOneIn: number;
  readonly verifyOneIn: number;
  readonly interruptOneIn: number;
  readonly protectOneIn: number;
  /** Of the actions on reservations. */
  readonly persistOneIn: number;
  /** How long the traffic goes on, ms. */
  readonly duration: number;
  readonly faults: readonly Fault[];
  /** After healing, power is cut once more and everything is read again. */
  readonly crashAtEnd: boolean;
}

/** What a seed draws, where `overrides` do not say otherwise. Each part has a stream of its own. */
export function swarm(seed: number, overrides: Partial<Plan> = {}): Plan {
  const all = new SimRandom(seed);
  const shape = all.fork('shape');
  // Most worlds are small: connecting costs more than I/O does, and most of what goes wrong needs little to do so.
  const large = shape.oneIn(6);
  const few = (most: number): number => (shape.oneIn(large ? 2 : 4) ? shape.between(1, most) : 1);
  const blockSize = shape.oneIn(6) ? 4096 : 512;
  const quiet = all.fork('quiet').oneIn(8);
  const duration = all.fork('duration').pick([50, 300, 1000, 4000]);
  const several = all.fork('multipath').oneIn(4) ? 2 : 1;
  const digests = shape.pick(['', 'h', 'd', 'hd', 'hd']);
  const load = drawLoad(all.fork('load'));
  // Reservations are about others.
  const others = load.reserveOneIn > 0 && !all.fork('reservations').oneIn(4) ? 2 : 1;
  const topology = {
    hosts: Math.max(others, few(4)),
    targets: few(4),
    addresses: Math.max(several, few(3)),
    lastAddressAt: shape.oneIn(8) ? shape.below(duration) : 0,
    subsystems: few(3),
    namespaces: few(3),
    blocks: shape.pick([8, 16, 64]),
    privateNamespaces: false,
    ways: Math.max(several, few(3)),
    ioQueues: few(8),
    queueEntries: shape.pick([2, 3, 5, 9, 17, 33, 129]),
    headerDigest: digests.includes('h'),
    dataDigest: digests.includes('d'),
    disableSqFlow: shape.oneIn(2),
    kato: quiet && shape.oneIn(2) ? 0 : shape.between(1, 5) * 1000,
  };
  const { hosts, subsystems, ways, ioQueues, queueEntries } = { ...topology, ...overrides };
  const capsules = hosts * subsystems * ways * ioQueues * queueEntries;
  const plan: Plan = {
    seed,
    ...topology,
    link: drawLink(all.fork('link')),
    disk: drawDisk(all.fork('disk'), blockSize),
    targetLimits: drawTargetLimits(all.fork('target limits'), capsules),
    hostLimits: drawHostLimits(all.fork('host limits')),
    recovery: drawRecovery(all.fork('recovery')),
    heads: drawHeads(all.fork('heads')),
    keepTrying: all.fork('keep trying').oneIn(2),
    ...load,
    verifyOneIn: all.fork('verify').pick([0, 0, 0, 5, 20]),
    interruptOneIn: all.fork('interrupt').pick([0, 0, 0, 5, 20]),
    protectOneIn: all.fork('protect').pick([0, 0, 0, 0, 15, 50]),
    persistOneIn: all.fork('persist').pick([0, 0, 5]),
    nbdClients: all.fork('nbd').pick([0, 0, 0, 0, 1, 3]),
    duration,
    faults: quiet
      ? []
      : drawFaults(all.fork('faults'), duration, topology.headerDigest && topology.dataDigest),
    // Without keep-alive nobody learns of a power cut who has nothing to say.
    crashAtEnd: all.fork('end').oneIn(3) && topology.kato > 0,
    ...overrides,
  };
  return plan;
}

function drawLink(random: SimRandom): LinkOptions {
  return {
    latency: random.pick([5, 50, 200, 2000]),
    jitter: random.pick([0, 10, 300, 5000]),
    bandwidth: random.pick([20_000, 200_000, 2_000_000]),
    segment: random.pick([1460, 9000, 65536]),
    window: random.pick([4096, 16384, 65536, 262144]),
    take: random.pick([0, 20, 500]),
  };
}

function drawDisk(random: SimRandom, blockSize: number): Plan['disk'] {
  return {
    blockSize,
    latency: random.pick([10, 80, 400]),
    jitter: random.pick([0, 100, 3000]),
    syncLatency: random.pick([50, 1000, 8000]),
    residentOneIn: random.pick([0, 1, 2, 4]),
    canPunch: !random.oneIn(4),
  };
}

function drawTargetLimits(random: SimRandom, capsules: number): Partial<TargetLimits> {
  const ioCapsuleData = random.pick([0, 512, 4096, 8192, 16384]);
  const maxTransfer = random.pick([8192, 65536, 1048576]);
  return {
    ioCapsuleData,
    maxTransfer,
    // The ANA log must fit.
    namespaces: 64,
    maxH2cData: random.pick([4096, 8192, 65536]),
    // Room for the capsules of all queues once, and for the data of one command or a few.
    capsuleBudget: capsules * ioCapsuleData,
    writeBudget: maxTransfer + random.pick([0, 8192, 1048576]),
    queueWriteBudget: random.pick([4096, 16384, 262144]),
    readBudget: maxTransfer + random.pick([0, 8192, 1048576]),
    // A single read must be no more than a few times this: past eight times the host counts as one that does not read.
    sendBacklog: random.pick([65536, 262144, 1048576]),
    connectTimeout: random.between(2, 10) * 1000,
    stallTimeout: random.between(10, 60) * 1000,
    terminateTimeout: random.between(2, 30) * 1000,
  };
}

function drawHostLimits(random: SimRandom): Partial<HostLimits> {
  return {
    connectTimeout: random.between(2, 10) * 1000,
    adminTimeout: random.between(5, 20) * 1000,
    ioTimeout: random.between(2, 30) * 1000,
    terminateTimeout: random.between(1, 5) * 1000,
    shutdownTimeout: random.between(1, 5) * 1000,
  };
}

function drawRecovery(random: SimRandom): Partial<Recovery> {
  return {
    reconnectDelay: random.pick([50, 500, 2000]),
    ctrlLossTmo: random.pick([0, 3000, Infinity, Infinity, Infinity]),
    fastIoFailTmo: random.pick([Infinity, Infinity, 1000]),
    devLossTmo: random.pick([Infinity, Infinity, 2000]),
    backoff: random.pick([1, 1, 2]),
    maxReconnectDelay: 4000,
    jitter: random.pick([0, 0.25]),
  };
}

/** `write_failover` stays safe: the other one loses data, as a scenario shows (GHOST.4). */
function drawHeads(random: SimRandom): Partial<HeadSettings> {
  return { iopolicy: random.pick(IO_POLICIES), delayedRemoval: random.pick([0, 0, 1, 10]) };
}

function drawLoad(
  random: SimRandom,
): Pick<
  Plan,
  | 'clients'
  | 'ios'
  | 'depth'
  | 'ioBlocks'
  | 'fuaOneIn'
  | 'flushOneIn'
  | 'eraseOneIn'
  | 'abandonOneIn'
  | 'swapOneIn'
  | 'copyOneIn'
  | 'reserveOneIn'
> {
  return {
    clients: random.between(1, 6),
    ios: random.between(100, 300),
    depth: random.pick([1, 2, 4, 16]),
    ioBlocks: random.pick([1, 2, 8]),
    fuaOneIn: random.pick([0, 2, 8]),
    flushOneIn: random.pick([0, 6, 20]),
    eraseOneIn: random.pick([0, 5, 20]),
    abandonOneIn: random.pick([0, 0, 10, 40]),
    swapOneIn: random.pick([0, 0, 4, 15]),
    copyOneIn: random.pick([0, 0, 5, 15]),
    reserveOneIn: random.pick([0, 0, 0, 4, 15]),
  };
}

function drawFaults(random: SimRandom, duration: number, protectedData: boolean): Fault[] {
  // Few kinds in one run: some faults hide what others would show.
  const kinds = FAULT_KINDS.filter((kind) =>
    kind === 'corrupt' ? protectedData && random.oneIn(2) : random.oneIn(4),
  );
  if (kinds.length === 0) return [];
  const count = random.pick([1, 2, 4, 8]);
  return Array.from({ length: count }, (_, i) => drawFault(random.fork(String(i)), kinds, duration));
}
