/**
 * A machine that runs an initiator: the real registry and its controllers, and somebody who connects what should be
 * connected and is not, as `host.connect` would be called again by its user. The process stops and starts again; what
 * else its operator does is in `host-operator.ts`.
 */
import type { Controller } from '../../src/initiator/controller.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import type { Recovery } from '../../src/initiator/recovery.ts';
import { Registry } from '../../src/initiator/registry.ts';
import type { HeadSettings } from '../../src/initiator/subsystem.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { isDnr } from '../../src/nvme/status.ts';
import { MemoryInterfaces } from '../../src/runtime/memory/interfaces.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { MachineClock } from './clock.ts';
import { HostOperator } from './host-operator.ts';
import type { NbdRoom } from './nbd-room.ts';
import type { Excuses } from './oracle.ts';
import { HostRules } from './rules.ts';
import { TCP_PORT, type TargetMachine } from './target-machine.ts';
import { WatchedNet } from './watched-net.ts';
import type { World } from './world.ts';

/** One controller that the host is meant to have. */
export interface Way {
  readonly target: TargetMachine;
  readonly address: string;
  readonly nqn: string;
  readonly ioQueues: number;
  readonly queueEntries: number;
  readonly disableSqFlow: boolean;
  controller: Controller | undefined;
  /** It was connected, and so is to be kept. */
  connected: boolean;
  /** Not to be connected before this moment, microseconds. */
  notBefore: number;
  /** When it was begun to be connected last, and how long that took, microseconds. */
  began: number;
  took: number;
}

export interface HostOptions {
  readonly kato: number;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  /** Microseconds between two looks at the ways. */
  readonly look: number;
  readonly limits: Partial<Limits>;
  readonly recovery: Partial<Recovery>;
  readonly heads: Partial<HeadSettings>;
  readonly keepTrying: boolean;
}

export class HostMachine {
  readonly world: World;
  readonly name: string;
  process!: MachineClock;
  registry!: Registry;
  rules!: HostRules;
  readonly ways: Way[] = [];
  readonly options: HostOptions;
  readonly operator: HostOperator;
  readonly #names = new WeakMap<object, string>();
  /** Where its disks are served by NBD. */
  nbd: NbdRoom | undefined = undefined;
  /** Commands that its clients aborted or cancelled. */
  aborts = 0;
  #boots = 0;
  state: 'on' | 'stopping' | 'off' = 'off';
  /** It is over for good: who waits for that. */
  #last: (() => void) | undefined = undefined;

  constructor(world: World, name: string, options: HostOptions) {
    this.world = world;
    this.name = name;
    this.options = options;
    this.operator = new HostOperator(this);
    this.#boot();
  }

  /** A process of its own: nothing is known of what the last one had. */
  #boot(): void {
    const { world, name, options } = this;
    this.process = new MachineClock(world.clock, name);
    const unused = (): never => {
      throw new Error('a host has no disks');
    };
    const net = this.newNet(undefined);
    this.registry = new Registry(
      {
        clock: this.process,
        random: world.random.fork(this.#boots === 0 ? name : `${name} ${this.#boots}`),
        net,
        interfaces: new MemoryInterfaces(),
        files: { open: unused, memory: unused },
        store: { read: unused, write: unused, remove: unused },
        crypto: { crc32c },
        trace: world.trace.port(name),
      },
      options.limits,
    );
    net.registry = this.registry;
    this.rules = new HostRules(world, name, this.registry);
    this.#boots++;
    this.state = 'on';
  }

  /** Sockets of their own, watched. */
  newNet(registry: Registry | undefined): WatchedNet {
    return new WatchedNet(this.world, this.name, this.world.net.port(this.process), registry);
  }

  get number(): number {
    return Number(this.name.slice(1));
  }
  get hostid(): string {
    return `00000000-0000-4000-8000-${String(this.number).padStart(12, '0')}`;
  }

  start(): void {
    if (this.state === 'off') this.#boot();
    this.nbd?.start();
    this.#look(this.process);
  }

  #look(process: MachineClock): void {
    if (this.state !== 'on' || this.process !== process) return;
    for (const way of this.ways)
      if (way.controller === undefined && way.notBefore <= this.world.clock.micros) this.connect(way);
      else if (way.controller?.state.is('dead') === true) {
        this.#checkKept(way, way.controller);
        way.controller = undefined;
        way.notBefore = Math.max(way.notBefore, this.world.clock.micros + this.options.look);
      }
    this.world.clock.after(`${this.name} looks at its controllers`, this.options.look, () =>
      this.#look(process),
    );
  }

  /** Who the host says that it is, and how it connects. */
  get #identity(): Pick<
    ControllerOptions,
    'localHost' | 'hostnqn' | 'hostid' | 'headerDigest' | 'dataDigest'
  > {
    const { headerDigest, dataDigest } = this.options;
    const hostnqn = `nqn.2014-08.org.nvmexpress:uuid:${this.hostid}`;
    return { localHost: this.name, hostnqn, hostid: this.hostid, headerDigest, dataDigest };
  }

  connect(way: Way): void {
    const { kato, recovery, heads, keepTrying } = this.options;
    const options: ControllerOptions = {
      ...this.#identity,
      address: { host: way.address, port: TCP_PORT },
      subnqn: way.nqn,
      ioQueues: way.ioQueues,
      queueEntries: way.queueEntries,
      kato,
      disableSqFlow: way.disableSqFlow,
      recovery,
      heads,
      keepTrying,
    };
    way.connected = false;
    way.began = this.world.clock.micros;
    way.controller = this.registry.connect(options, (reason) => {
      way.connected = reason === undefined;
      way.took = this.world.clock.micros - way.began;
      this.world.connected(this, way, reason);
    });
  }

  /** A controller of the discovery service behind a way. */
  discover(way: Way): Controller | undefined {
    const options: ControllerOptions = {
      ...this.#identity,
      address: { host: way.address, port: TCP_PORT },
      subnqn: DISCOVERY_NQN,
      ioQueues: 0,
      queueEntries: 32,
      kato: this.options.kato,
      disableSqFlow: false,
    };
    return this.registry.connect(options, () => undefined);
  }

  /** A controller that is never given up goes only when somebody says so: its user, or the target (DNR). */
  #checkKept(way: Way, { name, reason, recovery }: Controller): void {
    const forEver = recovery.ctrlLossTmo === Infinity && recovery.devLossTmo === Infinity;
    const told = reason?.code === 'ECANCELED' || (reason?.status !== undefined && isDnr(reason.status));
    if (forEver && way.connected && !told)
      this.world.violation(
        'KEEP',
        `${this.name} lost ${name} to ${way.address} for good, though ctrl_loss_tmo is -1: ${reason?.message ?? 'no reason'}`,
        [this.name],
      );
  }

  /** The last stop: `done` is called when nothing is left. */
  stop(done: () => void): void {
    this.#last = done;
    if (this.state === 'on') this.#end(() => undefined);
    else if (this.state === 'off') done();
  }

  /**
   * The process stops, and starts again after a while. PORT.11: it does so within a bound, although somebody keeps its
   * volumes open, if `open`.
   */
  restart(ms: number, open: boolean): void {
    // An NBD room stays for as long as its host.
    if (this.state !== 'on' || this.nbd !== undefined) return;
    const { world, registry } = this;
    const kept = open
      ? [...registry.subsystems].map((subsystem) => ({ subsystem, release: subsystem.hold() }))
      : [];
    let over = false;
    world.clock.after(`${this.name} must have stopped`, world.bounds.stop * 1000, () => {
      if (!over)
        world.violation('PORT.11', `${this.name} has not stopped after ${world.bounds.stop} ms`, [this.name]);
    });
    this.#end(() => {
      over = true;
      if (kept.length > 0) world.mark('PORT.11 a host stopped, and a volume was open');
      for (const { subsystem, release } of kept) {
        if (subsystem.gone)
          world.violation('NUM.7', `${this.name}: ${subsystem.name} is gone, and it is open`, [this.name]);
        release();
      }
      if (this.#last === undefined) world.clock.after(`${this.name} starts`, ms * 1000, () => this.heal());
    });
  }

  /** The operator undoes what he did: it runs, and connects whatever it should. */
  heal(): void {
    for (const way of this.ways) way.notBefore = 0;
    this.operator.heal();
    if (this.state === 'off' && this.#last === undefined) this.start();
  }

  #end(stopped: () => void): void {
    this.state = 'stopping';
    this.world.trace.note('stops', this.name);
    if (this.nbd === undefined) this.#endRegistry(stopped);
    else this.nbd.stop(() => this.#endRegistry(stopped));
  }

  #endRegistry(stopped: () => void): void {
    const { registry, rules, process, world } = this;
    rules.stop(
      () => {
        const { ports } = registry;
        for (const remote of ports.remotes) ports.removeRemote(remote, () => undefined);
        for (const local of [...ports.locals.values()]) ports.removeLocal(local, () => undefined);
        // The last callbacks of this turn come first.
        world.clock.after(`${this.name} exits`, 1, () => {
          stopped();
          this.#checkLeft();
          process.kill();
          for (const way of this.ways) way.controller = undefined;
          this.state = 'off';
          this.#last?.();
        });
      },
      () => process.timers,
    );
  }

  head(nqn: string, nsid: number): Head | undefined {
    const uuid = this.world.uuidOf(nqn, nsid);
    return this.registry.subsystem(nqn)?.heads.find((head) => head.nsid === nsid && head.info.uuid === uuid);
  }

  /** Every controller is live. */
  get live(): boolean {
    return this.state === 'on' && this.ways.every(({ controller }) => controller?.state.is('live') === true);
  }

  /** NUM.4, NUM.9: what a subsystem and its heads are called never changes, whatever controllers do. */
  checkNames(): void {
    for (const subsystem of this.registry.subsystems)
      for (const each of [subsystem, ...subsystem.heads.values()]) {
        const before = this.#names.get(each);
        if (before === undefined) this.#names.set(each, each.name);
        else if (before !== each.name)
          this.world.violation('NUM.9', `${this.name}: ${before} is called ${each.name} now`, [this.name]);
      }
  }

  excuses(target: TargetMachine): Excuses {
    const { disturbances } = this.world;
    return {
      path: disturbances.has(this.name) || disturbances.has(target.name),
      corruption: [...this.world.net.links.values()].some(
        ({ name, damaged }) => damaged > 0 && name.startsWith(`${this.name}→`),
      ),
      removed: target.removed > 0,
      aborted: this.aborts > 0,
    };
  }

  #checkLeft(): void {
    const { registry, world } = this;
    const left = [
      ...[...this.process.timers].map(({ name }) => `timer ${name}`),
      ...world.net.open(this.process).map(({ name }) => `socket ${name}`),
      ...(this.nbd?.left() ?? []),
      ...[...registry.controllers].map(({ name, state }) => `controller ${name} ${state.now}`),
      ...[...registry.subsystems].map(({ name }) => `subsystem ${name}`),
      ...registry.taken.map((number) => `number ${number}`),
      ...registry.ports.remotes.map(
        ({ name, activeControllers }) => `port ${name}, ${activeControllers} active`,
      ),
      ...(registry.identities.size > 0 ? ['an identity'] : []),
    ];
    if (left.length > 0)
      world.violation('LEAK', `${this.name} stopped and left ${left.join(', ')}`, [this.name]);
  }
}
