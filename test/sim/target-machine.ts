/**
 * A machine with disks that runs a target. The process comes and goes: `stop` in order, `kill` at once, `crash` with the
 * power; the disks and the state stay.
 */
import { MemoryInterfaces } from '../../src/runtime/memory/interfaces.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { AnaState } from '../../src/nvme/ana-log.ts';
import type { Env, IoDone, StateStore } from '../../src/runtime/ports.ts';
import type { Limits } from '../../src/target/limits.ts';
import { FactsStore, factsDocument, type NamespaceFacts } from '../../src/target/facts.ts';
import { Target } from '../../src/target/target.ts';
import type { Namespace } from '../../src/target/namespace.ts';
import type { Volume } from '../../src/storage/volume.ts';
import { MachineClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import type { DiskOracle } from './oracle.ts';
import type { ProtectionOracle } from './protection-oracle.ts';
import type { ReservationOracle } from './reservation-oracle.ts';
import type { SimRandom } from './random.ts';
import { brokenLifeRule } from './target-rules.ts';
import { expectTold } from './told.ts';
import type { World } from './world.ts';

export const TCP_PORT = 4420;
/** The ANA group of namespaces that are there for a while: what is late for those that they stand for is refused. */
const IMPOSTORS = 4;
/** Microseconds. */
const SLOWEST_DOCUMENT = 20_000;

export interface NamespacePlan {
  readonly nqn: string;
  readonly nsid: number;
  readonly blockSize: number;
}

/** A namespace as the machine keeps it, whether or not a process runs. */
export interface NamespaceState {
  readonly plan: NamespacePlan;
  readonly uuid: string;
  readonly disk: SimDisk;
  readonly oracle: DiskOracle;
  readonly reservations: ReservationOracle;
  readonly protection: ProtectionOracle;
  /** The operator wants it exported. */
  exported: boolean;
  /** Its volume, in the process that runs. */
  volume: Volume | undefined;
  made: Namespace | undefined;
  /** The operator took its file away for a while. */
  disabled: boolean;
  /** What has its NSID while it is away. */
  impostor: Namespace | undefined;
}

export class TargetMachine {
  readonly world: World;
  readonly name: string;
  /** When each of them is there, microseconds after the first start. */
  readonly addresses: readonly { readonly host: string; readonly from: number }[];
  readonly namespaces: NamespaceState[] = [];
  readonly #limits: Partial<Limits>;
  readonly #documents = new Map<string, string>();
  /** Hosts of the ports that listen, or are about to. */
  readonly #opening = new Set<string>();
  #starts = 0;
  process: MachineClock | undefined = undefined;
  target: Target | undefined = undefined;
  state: 'off' | 'on' | 'stopping' = 'off';
  /** How often what it says of its namespaces has changed. */
  changes = 0;
  /** Namespaces were taken away at some time. */
  removed = 0;

  constructor(
    world: World,
    name: string,
    addresses: readonly { readonly host: string; readonly from: number }[],
    limits: Partial<Limits>,
  ) {
    this.world = world;
    this.name = name;
    this.addresses = addresses;
    this.#limits = limits;
  }

  // ---- the process

  start(): void {
    if (this.state !== 'off') return;
    const { world } = this;
    world.trace.note('starts', this.name, ++this.#starts);
    world.net.powerOn(this.name);
    for (const { disk, oracle } of this.namespaces) {
      // A disk whose sync failed is taken to pieces by the operator: what was not stable is gone.
      if (disk.failedAt === undefined) continue;
      disk.crash();
      oracle.crashed(world.clock.micros);
    }
    const process = new MachineClock(world.clock, this.name);
    this.process = process;
    this.state = 'on';
    this.#opening.clear();
    const target = new Target(this.#env(process), this.#limits);
    this.target = target;
    this.addSubsystems();
    for (const namespace of this.namespaces) if (namespace.exported) this.#export(namespace);
    for (const address of this.addresses)
      if (address.from > world.clock.micros)
        world.clock.after(`${address.host} appears`, address.from - world.clock.micros, () =>
          this.openPorts(),
        );
    this.openPorts();
  }

  /** Those that the operator deleted as well. */
  addSubsystems(): void {
    const { target } = this;
    for (const { plan } of this.namespaces)
      if (target?.find(plan.nqn) === undefined)
        target?.addSubsystem({ nqn: plan.nqn, serial: this.name, model: 'simulated' });
  }

  /** Listens wherever it should and does not. */
  openPorts(): void {
    const { target, world } = this;
    if (target === undefined || this.state !== 'on') return;
    for (const { host, from } of this.addresses) {
      if (from > world.clock.micros || this.#opening.has(host)) continue;
      this.#opening.add(host);
      target.ports.listen({ host, port: TCP_PORT }, (error, port) => {
        if (port !== undefined) target.ports.setAnaState(port, IMPOSTORS, AnaState.Inaccessible);
        if (error !== undefined) world.violation('SIM', `${host}: ${error.message}`, [this.name]);
      });
    }
  }

  /** The operator takes a port away. */
  closePort(which: number): void {
    const { target } = this;
    const port = target?.ports.list[which % (target.ports.list.length || 1)];
    if (target === undefined || port === undefined || this.state !== 'on') return;
    this.world.trace.note('removes a port', this.name, port.id);
    const process = this.process;
    target.ports.remove(port, () => {
      if (this.process === process) this.#opening.delete(port.address.host);
    });
  }

  /** The operator ends a controller. */
  kick(which: number): void {
    const controllers = [...(this.target?.subsystems.values() ?? [])].flatMap((each) => [
      ...each.controllers.values(),
    ]);
    controllers[which % (controllers.length || 1)]?.remove('controller removed');
  }

  /** The operator sets an ANA state on one of the ports. */
  setAna(which: number, anagrpid: number, state: AnaState): void {
    const { target } = this;
    const port = target?.ports.list[which % (target.ports.list.length || 1)];
    if (target === undefined || port === undefined || this.state !== 'on') return;
    this.world.trace.note('sets an ANA state', this.name, anagrpid, state);
    target.ports.setAnaState(port, anagrpid, state);
    expectTold(this.world, this);
  }

  /** The operator undoes what he did. */
  heal(): void {
    this.addSubsystems();
    this.openPorts();
    for (const port of this.target?.ports.list ?? [])
      for (const [anagrpid] of port.ana.told())
        if (anagrpid !== IMPOSTORS) this.target?.ports.setAnaState(port, anagrpid, AnaState.Optimized);
    for (const namespace of this.namespaces) this.enable(namespace);
  }

  #env(process: MachineClock): Env {
    const { world } = this;
    const unused = (): never => {
      throw new Error('the simulator opens disks itself');
    };
    return {
      clock: process,
      random: world.random.fork(`${this.name} ${this.#starts}`),
      net: world.net.port(process),
      interfaces: new MemoryInterfaces(),
      files: { open: unused, memory: unused },
      store: documentStore(
        process,
        this.#documents,
        world.random.fork(`${this.name} documents ${this.#starts}`),
      ),
      crypto: { crc32c },
      trace: world.trace.port(this.name),
    };
  }

  /** In order; `done` is called when nothing is left of the process. */
  stop(done: () => void): void {
    const { process, target, world } = this;
    if (this.state !== 'on' || process === undefined || target === undefined) {
      done();
      return;
    }
    world.trace.note('stops', this.name);
    this.state = 'stopping';
    let over = false;
    const deadline = world.clock.after(`${this.name} must have stopped`, world.bounds.stop * 1000, () => {
      if (!over && this.process === process)
        world.violation('STOP', `${this.name} has not stopped after ${world.bounds.stop} ms`, [this.name]);
    });
    target.stop(() => {
      over = true;
      deadline.cancel();
      if (this.process !== process) return;
      // The last callbacks of this turn come first.
      world.clock.after(`${this.name} exits`, 1, () => {
        if (this.process !== process) return;
        this.#checkLeft(process, target);
        this.#ended(false);
        done();
      });
    });
  }

  /** The process dies where it stands; what is in the page cache stays. */
  kill(): void {
    if (this.process === undefined) return;
    this.world.trace.note('is killed', this.name);
    this.#ended(false);
  }

  /** The power goes, and with it what was not synced. */
  crash(): void {
    const running = this.process !== undefined;
    this.world.trace.note('crashes', this.name);
    if (running) this.#ended(true);
    for (const { disk, oracle } of this.namespaces) {
      disk.crash();
      oracle.crashed(this.world.clock.micros);
    }
  }

  #ended(silent: boolean): void {
    const process = this.process!;
    process.kill();
    this.world.net.ended(process, silent);
    for (const namespace of this.namespaces) {
      namespace.volume = namespace.made = namespace.impostor = undefined;
      namespace.disk.processEnded();
      namespace.oracle.targetEnded(this.world.clock.micros);
      namespace.reservations.targetEnded();
      namespace.protection.targetEnded();
    }
    this.process = undefined;
    this.target = undefined;
    this.state = 'off';
  }

  // ---- namespaces

  #export(namespace: NamespaceState): void {
    const { plan, uuid, disk } = namespace;
    const target = this.target!;
    const subsystem = target.find(plan.nqn)!;
    const made = target.addNamespace(subsystem, disk.open(this.process!), {
      nsid: plan.nsid,
      uuid,
      blockSize: plan.blockSize,
      readOnly: false,
      shared: !this.world.plan.privateNamespaces,
      facts: this.#facts(uuid),
    });
    namespace.volume = made.volume;
    namespace.made = made;
  }

  /** As its operator loads them before he adds it. */
  #facts(uuid: string): NamespaceFacts {
    const text = this.#documents.get(factsDocument(uuid));
    let facts: NamespaceFacts = {};
    const known = new FactsStore({
      read: (_, done) => done(undefined, text),
      write: () => undefined,
      remove: () => undefined,
    });
    known.load(uuid, (_, found) => {
      facts = found;
    });
    return facts;
  }

  /** The operator takes a namespace away for good, or makes it again. */
  toggle(namespace: NamespaceState): void {
    if (this.state === 'stopping') return;
    const { plan } = namespace;
    if (namespace.exported) {
      this.#remove(namespace, (made, gone) => this.target!.removeNamespace(made, gone));
    } else {
      // The file is locked until its last operation is over, and a disk whose sync failed waits for a new process.
      if (namespace.made !== undefined || namespace.disk.failedAt !== undefined) return;
      if (this.target !== undefined && this.target.find(plan.nqn) === undefined) return;
      if (namespace.impostor?.removed === false)
        this.target?.removeNamespace(namespace.impostor, () => undefined);
      namespace.impostor = undefined;
      this.world.trace.note('adds a namespace', this.name, plan.nsid);
      namespace.exported = true;
      if (this.target !== undefined) this.#export(namespace);
    }
  }

  /**
   * The operator deletes a subsystem with everything in it, and again while that is under way (LIFE.9); some time later
   * he makes it anew.
   */
  deleteSubsystem(nqn: string, ms: number): void {
    const { target, process, world } = this;
    const subsystem = target?.find(nqn);
    if (target === undefined || subsystem === undefined || this.state !== 'on') return;
    world.trace.note('deletes a subsystem', this.name);
    const busy = subsystem.controllers.size > 0;
    const refused = target.removeSubsystem(subsystem, false, () => undefined) !== undefined;
    if (refused !== busy)
      world.violation(
        'LIFE.9',
        `${nqn} ${refused ? 'without' : 'with'} controllers: ${refused ? 'not deleted' : 'deleted'}`,
        [this.name],
      );
    const closed = (gone: () => void): void => void target.removeSubsystem(subsystem, true, gone);
    for (const namespace of this.namespaces)
      if (namespace.plan.nqn === nqn && namespace.exported)
        this.#remove(namespace, (_, gone) => closed(gone));
    closed(() => undefined);
    if (subsystem.controllers.size + subsystem.namespaces.size > 0)
      world.violation('LIFE.9', `${nqn} is deleted, and still has controllers or namespaces`, [this.name]);
    world.clock.after(`${this.name}: ${nqn} is made again`, ms * 1000, () => {
      if (this.process !== process || this.state !== 'on') return;
      this.addSubsystems();
      for (const namespace of this.namespaces)
        if (namespace.plan.nqn === nqn && !namespace.exported) this.toggle(namespace);
    });
  }

  /** What is kept of it goes too, but not at once. `close`: takes it away, and says when its file is closed. */
  #remove(namespace: NamespaceState, close: (made: Namespace, gone: () => void) => void): void {
    const { target } = this;
    const { made, plan, reservations, protection, uuid } = namespace;
    this.world.trace.note('removes a namespace', this.name, plan.nsid);
    this.removed++;
    namespace.exported = false;
    if (target === undefined || made === undefined) {
      this.#documents.delete(factsDocument(uuid));
      reservations.removed(true);
      protection.removed(true);
      return;
    }
    reservations.removed(false);
    protection.removed(false);
    let left = 2;
    const gone = (): void => {
      if (--left === 0 && namespace.made === made) namespace.volume = namespace.made = undefined;
    };
    close(made, gone);
    target.facts.remove(uuid, () => {
      reservations.removed(true);
      protection.removed(true);
      gone();
    });
  }

  /** The operator gives the NSID of a namespace to another one, of another identity (HEAD.7). */
  replace(namespace: NamespaceState): void {
    const { plan, uuid, disk, made } = namespace;
    const { target, world, process } = this;
    if (this.state !== 'on' || made === undefined || !namespace.exported || namespace.impostor !== undefined)
      return;
    this.toggle(namespace);
    const name = `impostor of ${disk.name}`;
    const size = 8 * plan.blockSize;
    const other = new SimDisk(name, world.clock, world.random.fork(name), world.trace, {
      ...disk.options,
      size,
    });
    namespace.impostor = target!.addNamespace(target!.find(plan.nqn)!, other.open(process!), {
      nsid: plan.nsid,
      uuid: uuid.replace(/^0/, '1'),
      anagrpid: IMPOSTORS,
      blockSize: plan.blockSize,
      readOnly: false,
    });
  }

  /** It comes back. */
  restore(namespace: NamespaceState): void {
    if (!namespace.exported) this.toggle(namespace);
  }

  /** The operator says how many I/O queues a controller may have; undefined: as many as it likes. */
  setIoQueues(nqn: string, count: number | undefined): void {
    if (this.state === 'on') this.target?.find(nqn)?.setIoQueues(count);
  }

  /** The operator takes the file from under a namespace, and gives it back. */
  disable(namespace: NamespaceState): void {
    if (this.state !== 'on' || namespace.made === undefined) return;
    this.world.trace.note('disables a namespace', this.name, namespace.plan.nsid);
    namespace.volume = undefined;
    namespace.disabled = true;
    // Who enables it may come before the file is closed.
    namespace.made.disable(() => {
      if (!namespace.disabled) this.enable(namespace);
    });
  }

  enable(namespace: NamespaceState): void {
    namespace.disabled = false;
    const { made, disk } = namespace;
    if (this.state !== 'on' || made?.state.is('disabled') !== true) return;
    if (disk.failedAt !== undefined) {
      // It cannot come back before the disk is healed, so hosts need not wait.
      this.toggle(namespace);
      return;
    }
    this.world.trace.note('enables a namespace', this.name, namespace.plan.nsid);
    this.target!.enableNamespace(made, disk.open(this.process!), false);
    namespace.volume = made.volume;
  }

  /** The operator puts a namespace into another ANA group. */
  move({ made }: NamespaceState, anagrpid: number): void {
    if (this.state === 'on' && made?.removed === false) made.subsystem.move(made, anagrpid);
    expectTold(this.world, this);
  }

  /** The operator makes a disk larger. */
  grow(namespace: NamespaceState, blocks: number): void {
    const { disk, oracle, plan } = namespace;
    disk.resize(disk.seen.length + blocks * plan.blockSize);
    oracle.grow();
    if (this.state === 'on' && namespace.exported) namespace.volume?.refresh(() => undefined);
    expectTold(this.world, this);
  }

  // ---- checks

  invariants(): void {
    const { target } = this;
    if (target === undefined) return;
    target.invariants();
    const broken = brokenLifeRule(target);
    if (broken !== undefined) this.world.violation(...broken, [this.name]);
    const { capsuleBudget, writeBudget } = target;
    let capsules = 0;
    let granted = 0;
    for (const { queue } of target.ports.connections()) {
      capsules += queue.capsuleSpace;
      granted += queue.grants.granted;
    }
    for (const [what, promised, budget] of [
      ['capsules', capsules, capsuleBudget],
      ['R2Ts', granted, writeBudget],
    ] as const)
      if (promised !== budget.used || promised > budget.limit)
        this.world.violation(
          'MEMORY',
          `${this.name} promised ${promised} bytes of ${what}; their budget says ${budget.used} of ${budget.limit}`,
          [this.name],
        );
  }

  #checkLeft(process: MachineClock, target: Target): void {
    const { net } = this.world;
    const left = [
      ...[...process.timers].map(({ name }) => `timer ${name}`),
      ...net.open(process).map(({ name }) => `socket ${name}`),
      ...(net.listening(process) > 0 ? ['a listener'] : []),
      ...(target.slabs.inUse > 0 ? [`${target.slabs.inUse} bytes of read buffers`] : []),
      ...(target.writeBudget.used > 0 ? [`${target.writeBudget.used} bytes of write budget`] : []),
      ...(target.capsuleBudget.used > 0 ? [`${target.capsuleBudget.used} bytes of capsule budget`] : []),
      ...this.namespaces.filter(({ disk }) => disk.handles > 0).map(({ disk }) => `file ${disk.name}`),
      ...[...target.subsystems.values()].flatMap(({ nqn, controllers }) =>
        [...controllers.keys()].map((cntlid) => `controller ${cntlid} of ${nqn}`),
      ),
    ];
    if (left.length > 0)
      this.world.violation('LEAK', `${this.name} stopped and left ${left.join(', ')}`, [this.name]);
  }
}

/** Documents that survive the process; one that is under way when it ends is the old or the new one, whole. */
function documentStore(process: MachineClock, documents: Map<string, string>, random: SimRandom): StateStore {
  const change = (name: string, fn: () => void, done: IoDone): void => {
    const early = random.oneIn(2);
    if (early) fn();
    process.clock.after(`document ${name}`, random.below(SLOWEST_DOCUMENT), () => {
      if (process.dead) return;
      if (!early) fn();
      done(undefined);
    });
  };
  return {
    read: (name, done) => process.defer(() => done(undefined, documents.get(name))),
    write: (name, text, done) => change(name, () => void documents.set(name, text), done),
    remove: (name, done) => change(name, () => void documents.delete(name), done),
  };
}
