/**
 * Rules of one host that hold at every moment: they are looked at when the host's journal says that something they are
 * about has changed, inside the event where that matters and after it where it does not. Here are those of the journal
 * itself, of associations and of ports; beside them `number-rules.ts`, `head-rules.ts`, `io-rules.ts` for what every I/O
 * has to keep, and `watched-net.ts` for what the transport may be asked.
 */
import type { Controller } from '../../src/initiator/controller.ts';
import type { JournalEntry } from '../../src/initiator/journal.ts';
import type { Registry } from '../../src/initiator/registry.ts';
import { HeadRules } from './head-rules.ts';
import { NumberRules } from './number-rules.ts';
import type { World } from './world.ts';

/** Says that a rule is broken, and how. */
export type Broken = (rule: string, text: string) => void;

export class HostRules {
  readonly #world: World;
  readonly #registry: Registry;
  readonly #broken: Broken;
  readonly #numbers: NumberRules;
  readonly #heads: HeadRules;
  /** Every id that something had; what has it now, by its name. */
  readonly #ids = new Set<number>();
  readonly #names = new Map<number, string>();
  /** Controllers until nothing of them is left. */
  readonly #controllers = new Map<number, Controller>();
  /** How many I/O queues a controller had the last time. */
  readonly #queues = new WeakMap<Controller, number>();
  /** Since when a controller waits for its old connections, microseconds. */
  readonly #resetting = new Map<number, number>();
  #sequence = 0;

  constructor(world: World, host: string, registry: Registry) {
    this.#world = world;
    this.#registry = registry;
    this.#broken = (rule, text) => world.violation(rule, `${host}: ${text}`, [host]);
    this.#numbers = new NumberRules(world, registry, this.#broken);
    this.#heads = new HeadRules(world, registry, this.#broken);
    registry.journal.listen((entry) => this.#heard(entry));
  }

  // ---- inside the event

  #heard(entry: JournalEntry): void {
    this.#world.touchedRules.add(this);
    this.#checkEntry(entry);
    const { kind, id, name, what } = entry;
    switch (kind) {
      case 'controller added':
        this.#controllers.set(
          id,
          [...this.#registry.controllers].find((each) => each.id === id)!,
        );
        this.#numbers.controllerAdded(id, name);
        break;
      case 'subsystem added':
        this.#numbers.subsystemAdded(id, name);
        break;
      case 'controller removed':
      case 'subsystem removed':
        this.#numbers.removed();
        this.#resetting.delete(id);
        break;
      case 'controller state':
        this.#controllerState(id, name, what);
        break;
      case 'head added':
        this.#heads.added(id, name);
        break;
      case 'head removed':
        this.#heads.removed(id, name, what);
        break;
      case 'path added':
        this.#heads.pathAdded(id, name);
        break;
      case 'path removed':
        this.#heads.pathRemoved(name);
    }
  }

  /** NUM.11: an id is given once, and what is told of an id is told of the object that has it, by its name. */
  #checkEntry({ sequence, kind, id, name }: JournalEntry): void {
    if (sequence !== ++this.#sequence) this.#broken('NUM.11', `entry ${sequence} comes out of turn`);
    if (kind === 'discovery') return;
    if (kind.endsWith('added')) {
      if (this.#ids.has(id)) this.#broken('NUM.11', `${kind}: ${name} has the id ${id}, which another had`);
      this.#ids.add(id);
      this.#names.set(id, name);
      return;
    }
    // A port that was made on the way is not announced.
    const known = this.#names.get(id);
    if (known !== name && !(known === undefined && kind === 'port removed' && !this.#ids.has(id)))
      this.#broken('NUM.11', `${kind}: ${name} with id ${id}, which ${known ?? 'nobody'} has`);
    if (kind.endsWith('removed')) this.#names.delete(id);
  }

  #controllerState(id: number, name: string, what: string): void {
    const { micros } = this.#world.clock;
    const since = this.#resetting.get(id);
    if (what.startsWith('failed fast')) return;
    if (what.startsWith('live:')) this.#checkQueues(id);
    if (what.startsWith('resetting:')) this.#resetting.set(id, micros);
    else if (since !== undefined) {
      this.#checkDrained(name, since);
      this.#resetting.delete(id);
    }
  }

  /** QUIESCE.8: each association has as many as it was granted, at most as many as were asked for. */
  #checkQueues(id: number): void {
    const controller = this.#controllers.get(id)!;
    const { options, ioConnections, name } = controller;
    const queues = ioConnections.length;
    const most = options.ioQueues + (options.writeQueues ?? 0);
    if (queues > most || (queues === 0) !== (most === 0))
      this.#broken('QUIESCE.8', `${name} asked for ${most} queues, and has ${queues}`);
    if ((this.#queues.get(controller) ?? queues) !== queues)
      this.#world.mark('QUIESCE.8 a controller came back with another number of queues');
    this.#queues.set(controller, queues);
  }

  /** QUIESCE.9: for connections that do not end, a controller waits no longer than it may. */
  #checkDrained(name: string, since: number): void {
    const waited = this.#world.clock.micros - since;
    const most = this.#registry.limits.drainTimeout * 1000;
    if (waited > most) this.#broken('QUIESCE.9', `${name} waited ${waited} µs for its old connections`);
    if (waited === most) this.#world.mark('QUIESCE.9 old connections did not end in time');
  }

  // ---- after it

  /** After an event in which the journal said something. */
  check(): void {
    this.#numbers.check();
    this.#checkPorts();
    this.#heads.check();
  }

  /** Now and then. */
  checkTime(): void {
    for (const [id, since] of this.#resetting) this.#checkDrained(this.#names.get(id) ?? '', since);
  }

  /** PORT.1: what is counted is what is there. */
  #checkPorts(): void {
    const active = new Map<object, Set<Controller>>();
    for (const [id, controller] of this.#controllers) {
      const { association } = controller;
      if (association === undefined || association.over) {
        if (controller.state.is('dead')) this.#controllers.delete(id);
        continue;
      }
      const there = active.get(association.remote);
      if (there === undefined) active.set(association.remote, new Set([controller]));
      else there.add(controller);
    }
    const locals = new Map<{ readonly name: string; readonly activeRemotePorts: number }, number>();
    for (const remote of this.#registry.ports.remotes) {
      const there = active.get(remote)?.size ?? 0;
      if (remote.activeControllers !== there)
        this.#broken('PORT.1', `${remote.name} counts ${remote.activeControllers} associations of ${there}`);
      active.delete(remote);
      locals.set(remote.local, (locals.get(remote.local) ?? 0) + (there > 0 ? 1 : 0));
    }
    if (active.size > 0) this.#broken('PORT.1', `${active.size} ports are gone, and carry associations`);
    for (const [{ name, activeRemotePorts }, there] of locals)
      if (activeRemotePorts !== there)
        this.#broken('PORT.1', `local port ${name} counts ${activeRemotePorts} remote ports of ${there}`);
  }

  // ---- the end of the host

  /** Stops it, and looks whether heads that waited for a path are gone when that returns (HEAD.12). */
  stop(done: () => void, timers: () => Iterable<{ readonly name: string }>): void {
    const { waiting } = this.#heads;
    this.#registry.stop(done);
    for (const { name, gone } of waiting) {
      this.#world.mark('HEAD.12 a head waited when its host stopped');
      if (!gone) this.#broken('HEAD.12', `${name} waits for a path, and its host stops`);
    }
    for (const { name } of timers())
      if (name.endsWith('delayed removal')) this.#broken('HEAD.12', `the host stops, and ${name} runs on`);
  }
}
