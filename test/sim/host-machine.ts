/**
 * A machine that runs an initiator: the real registry and its controllers, and somebody who connects what should be
 * connected and is not, as `host.connect` would be called again by its user.
 */
import type { Controller, ControllerOptions } from '../../src/initiator/controller.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import { Registry } from '../../src/initiator/registry.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { MachineClock } from './clock.ts';
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
}

export class HostMachine {
  readonly world: World;
  readonly name: string;
  readonly process: MachineClock;
  readonly registry: Registry;
  readonly ways: Way[] = [];
  readonly options: HostOptions;
  #stopping = false;
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
        files: { open: unused, memory: unused },
        store: { read: unused, write: unused, remove: unused },
        crypto: { crc32c },
        trace: world.trace.port(name),
      },
      options.limits,
    );
  }

  start(): void {
    this.#look();
  }

  #look(): void {
    if (this.#stopping) return;
    for (const way of this.ways)
      if (way.controller === undefined && way.notBefore <= this.world.clock.micros) this.#connect(way);
      else if (way.controller?.state.is('dead') === true) {
        way.controller = undefined;
        way.notBefore = this.world.clock.micros + this.options.look;
      }
    this.world.clock.after(`${this.name} looks at its controllers`, this.options.look, () => this.#look());
  }

  #connect(way: Way): void {
    const { kato, headerDigest, dataDigest } = this.options;
    const number = this.name.slice(1).padStart(12, '0');
    const options: ControllerOptions = {
      address: { host: way.address, port: TCP_PORT },
      localHost: this.name,
      subnqn: way.nqn,
      hostnqn: `nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-${number}`,
      hostid: `00000000-0000-4000-8000-${number}`,
      ioQueues: way.ioQueues,
      queueEntries: way.queueEntries,
      kato,
      headerDigest,
      dataDigest,
      disableSqFlow: way.disableSqFlow,
      recovery: { ctrlLossTmo: 0 },
    };
    way.controller = this.registry.connect(options, (reason) => {
      this.world.connected(this, way, reason);
    });
  }

  /** The user takes one of its controllers away; it will be connected again. */
  disconnect(way: Way): void {
    way.controller?.disconnect('disconnected', () => undefined);
  }

  stop(done: () => void): void {
    this.#stopping = true;
    this.registry.stop(() => {
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

  excuses(target: TargetMachine): Excuses {
    const { disturbances } = this.world;
    return {
      path: disturbances.has(this.name) || disturbances.has(target.name),
      corruption: [...this.world.net.links.values()].some(
        ({ name, damaged }) => damaged > 0 && name.startsWith(`${this.name}→`),
      ),
      removed: target.removed > 0,
    };
  }

  #checkLeft(): void {
    const { registry, world } = this;
    const left = [
      ...[...this.process.timers].map(({ name }) => `timer ${name}`),
      ...world.net.open(this.process).map(({ name }) => `socket ${name}`),
      ...[...registry.controllers].map(({ name, state }) => `controller ${name} ${state.now}`),
      ...[...registry.subsystems].map(({ name }) => `subsystem ${name}`),
      ...registry.taken.map((number) => `number ${number}`),
      ...(registry.identities.size > 0 ? ['an identity'] : []),
    ];
    if (left.length > 0)
      world.violation('LEAK', `${this.name} stopped and left ${left.join(', ')}`, [this.name]);
  }
}
