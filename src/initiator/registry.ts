/**
 * All that one host has: its controllers and subsystems by name, and the numbers in the names (NUM.1 to NUM.12).
 */
import { assert } from '../runtime/assert.ts';
import type { Env } from '../runtime/ports.ts';
import { Controller } from './controller.ts';
import type { ControllerOptions } from './controller-options.ts';
import { Departed } from './departed.ts';
import { failure, type Failure } from './failure.ts';
import type { Head } from './head.ts';
import { Identities } from './identity.ts';
import { Journal } from './journal.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { HeadsById } from './namespace-identity.ts';
import { Numbers } from './numbers.ts';
import { Ports } from './ports.ts';
import { Subsystem } from './subsystem.ts';

export class Registry {
  readonly env: Env;
  readonly limits: Limits;
  readonly controllers = new Set<Controller>();
  readonly subsystems = new Set<Subsystem>();
  /** Whom its controllers are connected as. */
  readonly identities = new Identities();
  /** Heads of all subsystems. */
  readonly headsById = new HeadsById<Head>();
  /** What heads that are gone leave to those that come after them. */
  readonly departed = new Departed();
  readonly journal: Journal;
  readonly ports: Ports;
  readonly numbers = new Numbers(0);
  #id = 0;

  constructor(env: Env, limits: Partial<Limits> = {}) {
    this.env = env;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.journal = new Journal(env.clock, this.limits.journal);
    this.ports = new Ports(this);
  }

  /** A number that was never given out before (NUM.11). */
  nextId(): number {
    return ++this.#id;
  }

  /** Numbers in names that are not free. */
  get taken(): readonly number[] {
    return this.numbers.taken;
  }

  /**
   * Makes a controller and connects it; `done` as in `Controller.connect`. Undefined: the host's identity clashes with
   * one in use, which `done` will be told.
   */
  connect(options: ControllerOptions, done: (reason: Failure | undefined) => void): Controller | undefined {
    const conflict = this.identities.use(options);
    if (conflict !== undefined) {
      this.env.clock.defer(() => done(failure('EINVAL', conflict)));
      return undefined;
    }
    const instance = this.numbers.take('controller');
    const controller = new Controller(this, instance, this.nextId(), options);
    this.controllers.add(controller);
    this.journal.record('controller added', controller.name, controller.id, options.subnqn);
    controller.connect(done);
    return controller;
  }

  /** A controller that goes to the same place as the same host, and is not on its way out. */
  find(options: ControllerOptions): Controller | undefined {
    for (const controller of this.controllers) {
      const other = controller.options;
      if (
        other.subnqn === options.subnqn &&
        other.hostnqn === options.hostnqn &&
        other.hostid === options.hostid &&
        other.address.host === options.address.host &&
        other.address.port === options.address.port &&
        other.localHost === options.localHost &&
        other.localInterface === options.localInterface &&
        controller.state.is('new', 'connecting', 'live', 'resetting')
      )
        return controller;
    }
    return undefined;
  }

  /**
   * The controller knows what it is: it joins its subsystem, or makes it; one that reconnects is still the same. A
   * failure: it may not.
   */
  attach(controller: Controller): Failure | undefined {
    const { subnqn } = controller.options;
    // Every discovery controller gets a subsystem of its own (NUM.3).
    const known = controller.subsystem ?? (controller.discovery ? undefined : this.subsystem(subnqn));
    const refusal = known?.refuses(controller);
    if (refusal !== undefined) return failure('EPROTO', `${subnqn}: ${refusal}`);
    if (controller.subsystem !== undefined) return undefined;
    const subsystem = known ?? new Subsystem(this, this.nextId(), controller);
    if (known === undefined) {
      this.numbers.hold(subsystem.instance, 'subsystem');
      this.subsystems.add(subsystem);
      this.journal.record('subsystem added', subsystem.name, subsystem.id, subnqn);
    }
    subsystem.join(controller);
    return undefined;
  }

  subsystem(nqn: string): Subsystem | undefined {
    for (const subsystem of this.subsystems)
      if (!subsystem.discovery && subsystem.nqn === nqn) return subsystem;
    return undefined;
  }

  /** The controller is dead. Its number is free when no subsystem owns it (NUM.7). */
  forget(controller: Controller): void {
    const { subsystem } = controller;
    this.controllers.delete(controller);
    this.ports.forget(controller);
    this.numbers.release(controller.instance, 'controller');
    this.identities.release(controller.options);
    this.journal.record('controller removed', controller.name, controller.id, controller.state.why);
    if (subsystem === undefined) return;
    subsystem.forget(controller);
    this.collect(subsystem);
  }

  /** The subsystem goes, and its number is free, when nothing refers to it any more (NUM.7). Idempotent. */
  collect(subsystem: Subsystem): void {
    const { controllers, heads, handles } = subsystem;
    if (subsystem.gone || controllers.size > 0 || heads.length > 0 || handles > 0) return;
    subsystem.gone = true;
    this.subsystems.delete(subsystem);
    this.numbers.release(subsystem.instance, 'subsystem');
    this.journal.record('subsystem removed', subsystem.name, subsystem.id, subsystem.nqn);
  }

  /** Disconnects everything; `done` is called when nothing is left. */
  stop(done: () => void): void {
    let left = 1;
    const gone = (): void => {
      if (--left === 0) done();
    };
    this.departed.close();
    for (const subsystem of [...this.subsystems]) subsystem.stop();
    for (const controller of [...this.controllers]) {
      left++;
      controller.disconnect('host stops', gone);
    }
    gone();
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    this.ports.invariants();
    const owned = new Set<number>();
    for (const subsystem of this.subsystems) {
      subsystem.invariants();
      assert(!owned.has(subsystem.instance), `${subsystem.name}: two subsystems own its number`);
      owned.add(subsystem.instance);
    }
    for (const controller of this.controllers) {
      controller.invariants();
      // NUM.6: no live controller has the number of another live subsystem.
      const owner = [...this.subsystems].find(({ instance }) => instance === controller.instance);
      assert(
        owner === undefined || controller.subsystem === undefined || controller.subsystem === owner,
        `${controller.name}: its number is owned by ${owner?.name ?? ''}`,
      );
      owned.add(controller.instance);
    }
    assert(
      owned.size === this.taken.length,
      `numbers ${this.taken.join(' ')} are taken, but ${owned.size} are owned`,
    );
  }
}
