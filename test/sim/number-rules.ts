/** Rules of the numbers of one host: who gets which, and what is told of it (NUM.1 to NUM.6, NUM.12). */
import { describeNumbers } from '../../src/initiator/describe.ts';
import type { Registry } from '../../src/initiator/registry.ts';
import type { Subsystem } from '../../src/initiator/subsystem.ts';
import type { Broken } from './rules.ts';
import type { World } from './world.ts';

/** Who ever was with a subsystem. */
interface KnownSubsystem {
  readonly controllers: Set<number>;
  /** It was kept alive without any. */
  alone: boolean;
}

export class NumberRules {
  readonly #world: World;
  readonly #registry: Registry;
  readonly #broken: Broken;
  readonly #subsystems = new Map<Subsystem, KnownSubsystem>();
  /** A number was taken, or given back, in this event. */
  #changed = false;

  constructor(world: World, registry: Registry, broken: Broken) {
    this.#world = world;
    this.#registry = registry;
    this.#broken = broken;
  }

  // ---- inside the event

  controllerAdded(id: number, name: string): void {
    const { controllers, subsystems } = this.#registry;
    const controller = [...controllers].find((each) => each.id === id)!;
    this.#changed = true;
    const taken = new Set([...subsystems].map(({ instance }) => instance));
    for (const each of controllers) if (each !== controller) taken.add(each.instance);
    let lowest = 0;
    while (taken.has(lowest)) lowest++;
    if (controller.instance !== lowest)
      this.#broken('NUM.1', `${name} was added, and the lowest free number is ${lowest}`);
    if (name !== `nvme${controller.instance}`)
      this.#broken('NUM.2', `controller ${controller.instance} is called ${name}`);
  }

  subsystemAdded(id: number, name: string): void {
    const { controllers, subsystems, taken } = this.#registry;
    this.#changed = true;
    const subsystem = [...subsystems].find((each) => each.id === id)!;
    const { instance, nqn } = subsystem;
    const first = [...controllers].find((each) => each.instance === instance);
    if (first?.options.subnqn !== nqn || first.subsystem !== undefined)
      this.#broken(
        'NUM.2',
        `${name} has the number of ${first?.name ?? 'nobody'}, not of its first controller`,
      );
    if (name !== `nvme-subsys${instance}`) this.#broken('NUM.2', `subsystem ${instance} is called ${name}`);
    // It has a number that was taken before.
    const owned = new Set([...controllers, ...subsystems].map((each) => each.instance));
    if (owned.size !== taken.length) this.#broken('NUM.1', `${name} allocated a number`);
  }

  /** A controller or a subsystem is gone. */
  removed(): void {
    this.#changed = true;
  }

  // ---- after it

  check(): void {
    if (this.#changed) this.#checkNumbers();
    this.#changed = false;
    this.#checkSubsystems();
  }

  /** NUM.12: who has a number, and why, is told. */
  #checkNumbers(): void {
    const told = describeNumbers(this.#registry);
    for (const each of [...this.#registry.subsystems, ...this.#registry.controllers]) {
      const rows = told.filter(({ number, subsystem, controller }) =>
        [subsystem, controller].some((named) => named?.id === each.id && number === each.instance),
      );
      if (rows.length !== 1 || !rows[0]!.why.includes(each.name))
        this.#broken('NUM.12', `${each.name} has its number, and is named by ${JSON.stringify(told)}`);
    }
    for (const { number, subsystem, controller, why } of told) {
      if (subsystem === undefined && controller === undefined)
        this.#broken('NUM.12', `number ${number} is taken, and nobody has it: ${why}`);
      if (subsystem !== undefined && controller === undefined)
        this.#world.mark('NUM.12 a number is kept by a subsystem alone');
    }
  }

  #checkSubsystems(): void {
    const { subsystems, controllers } = this.#registry;
    for (const subsystem of subsystems) {
      let known = this.#subsystems.get(subsystem);
      if (known === undefined) {
        known = { controllers: new Set(), alone: false };
        this.#subsystems.set(subsystem, known);
      }
      for (const { id } of subsystem.controllers) known.controllers.add(id);
      if (subsystem.controllers.size === 0) known.alone = true;
      this.#checkMatch(subsystem, known);
    }
    for (const subsystem of this.#subsystems.keys())
      if (!subsystems.has(subsystem)) this.#subsystems.delete(subsystem);
    for (const { name, instance, subsystem } of controllers) {
      const owner = [...subsystems].find((each) => each.instance === instance);
      if (subsystem !== undefined && owner !== undefined && owner !== subsystem)
        this.#broken('NUM.6', `${name} belongs to ${subsystem.name}, and its number to ${owner.name}`);
    }
  }

  /** NUM.3: what never had another controller, and was never alone, matches the one it has. */
  #checkMatch({ name, instance, controllers, discovery }: Subsystem, known: KnownSubsystem): void {
    if (discovery && known.controllers.size > 1)
      this.#broken('NUM.3', `${name} is a discovery controller's own, and had ${known.controllers.size}`);
    if (known.alone || known.controllers.size !== 1) return;
    for (const controller of controllers)
      if (controller.instance !== instance)
        this.#broken('NUM.3', `${name} never had a controller but ${controller.name}`);
    if (discovery) this.#world.mark('NUM.3 a discovery controller has a subsystem of its own');
  }
}
