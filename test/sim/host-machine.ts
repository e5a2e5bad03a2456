/**
 * A machine that runs an initiator: the real registry and its controllers, and somebody who connects what should be
 * connected and is not, as `host.connect` would be called again by its user.
 */
import type { Controller } from '../../src/initiator/controller.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import type { Recovery } from '../../src/initiator/recovery.ts';
import { Registry } from '../../src/initiator/registry.ts';
import type { HeadSettings } from '../../src/initiator/subsystem.ts';
import { isDnr } from '../../src/nvme/status.ts';
import { MemoryInterfaces } from '../../src/runtime/memory/interfaces.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { MachineClock } from './clock.ts';
import type { NbdRoom } from './nbd-room.ts';
import type { Excuses } from './oracle.ts';
import { TCP_PORT, type TargetMachine } from './target-machine.ts';
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
  readonly process: MachineClock;
  readonly registry: Registry;
  readonly ways: Way[] = [];
  readonly options: HostOptions;
  readonly #names = new WeakMap<object, string>();
  #stopping = false;
  /** Where its disks are served by NBD. */
  nbd: NbdRoom | undefined = undefined;
  /** Commands that its clients aborted or cancelled. */
  aborts = 0;
  stopped = false;

  constructor(world: World, name: string, options: HostOptions) {
    this.world = world;
    this.name = name;
    this.options = options;
    this.process = new MachineClock(world.clock, name);
    const unused = (): never => {
      throw new Error('a host has no disks');
    };
    this.registry = new Registry(
      {
        clock: this.process,
        random: world.random.fork(name),
        net: world.net.port(this.process),
        interfaces: new MemoryInterfaces(),
        files: { open: unused, memory: unused },
        store: { read: unused, write: unused, remove: unused },
        crypto: { crc32c },
        trace: world.trace.port(name),
      },
      options.limits,
    );
  }

  get number(): number {
    return Number(this.name.slice(1));
  }
  get hostid(): string {
    return `00000000-0000-4000-8000-${String(this.number).padStart(12, '0')}`;
  }

  start(): void {
    this.nbd?.start();
    this.#look();
  }

  #look(): void {
    if (this.#stopping) return;
    for (const way of this.ways)
      if (way.controller === undefined && way.notBefore <= this.world.clock.micros) this.#connect(way);
      else if (way.controller?.state.is('dead') === true) {
        this.#checkKept(way, way.controller);
        way.controller = undefined;
        way.notBefore = this.world.clock.micros + this.options.look;
      }
    this.world.clock.after(`${this.name} looks at its controllers`, this.options.look, () => this.#look());
  }

  #connect(way: Way): void {
    const { kato, headerDigest, dataDigest, recovery, heads, keepTrying } = this.options;
    const options: ControllerOptions = {
      address: { host: way.address, port: TCP_PORT },
      localHost: this.name,
      subnqn: way.nqn,
      hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${this.hostid}`,
      hostid: this.hostid,
      ioQueues: way.ioQueues,
      queueEntries: way.queueEntries,
      kato,
      headerDigest,
      dataDigest,
      disableSqFlow: way.disableSqFlow,
      recovery,
      heads,
      keepTrying,
    };
    way.connected = false;
    way.controller = this.registry.connect(options, (reason) => {
      way.connected = reason === undefined;
      this.world.connected(this, way, reason);
    });
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

  /** The user takes one of its controllers away; it will be connected again. */
  disconnect(way: Way): void {
    way.controller?.disconnect('disconnected', () => undefined);
  }

  /** The user resets a controller. */
  reset(way: Way): void {
    way.controller?.reset('asked for');
  }

  /** The remote port of a way goes, and returns; with its local port, sockets and all, if `local`. */
  portAway(way: Way, local: boolean, ms: number): void {
    const { ports } = this.registry;
    const remote = ports.remotes.find(
      ({ address, state }) => address.host === way.address && state === 'online',
    );
    if (remote === undefined) return;
    let gone = false;
    const since = this.world.clock.micros;
    const done = (): void => {
      gone = true;
    };
    if (local) ports.removeLocal(remote.local, done);
    else ports.removeRemote(remote, done);
    this.world.clock.after(`${this.name}: port of ${way.address} returns`, ms * 1000, () => {
      if (this.#stopping) return;
      if (local) ports.addLocal(this.name, this.world.net.port(this.process));
      else ports.addRemote(this.name, { host: way.address, port: TCP_PORT });
    });
    // PORT.2: bounded by what the transport needs to end.
    const bound = (this.options.limits.terminateTimeout ?? 5000) + 1000;
    this.world.clock.after(`${this.name}: port of ${way.address} is gone`, bound * 1000, () => {
      if (!gone)
        this.world.violation(
          'PORT.2',
          `${this.name}: the port to ${way.address} was unregistered at ${since} and is still ${remote.state}`,
          [this.name],
        );
    });
  }

  stop(done: () => void): void {
    this.#stopping = true;
    if (this.nbd === undefined) this.#stop(done);
    else this.nbd.stop(() => this.#stop(done));
  }

  #stop(done: () => void): void {
    this.registry.stop(() => {
      const { ports } = this.registry;
      for (const remote of ports.remotes) ports.removeRemote(remote, () => undefined);
      for (const local of [...ports.locals.values()]) ports.removeLocal(local, () => undefined);
      // The last callbacks of this turn come first.
      this.world.clock.after(`${this.name} exits`, 1, () => {
        this.#checkLeft();
        this.stopped = true;
        done();
      });
    });
  }

  head(nqn: string, nsid: number): Head | undefined {
    return this.registry.subsystem(nqn)?.head(nsid);
  }

  /** Every controller is live. */
  get live(): boolean {
    return this.ways.every(({ controller }) => controller?.state.is('live') === true);
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
