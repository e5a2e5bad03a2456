/** Rules of the heads of one host (HEAD.1 to HEAD.12), and what their paths are called. */
import type { Head } from '../../src/initiator/head.ts';
import type { Registry } from '../../src/initiator/registry.ts';
import type { Broken } from './rules.ts';
import type { World } from './world.ts';

/** What a head was when it was made, and since when it has no path. */
interface KnownHead {
  readonly head: Head;
  readonly wwid: string;
  orphaned: { readonly at: number; readonly secs: number } | undefined;
}

export class HeadRules {
  readonly #world: World;
  readonly #registry: Registry;
  readonly #broken: Broken;
  readonly #heads = new Map<number, KnownHead>();
  readonly #paths = new Set<string>();
  /** When nobody waited for a namespace any more, microseconds. */
  readonly #expired = new Map<string, number>();
  /** Heads that went in this event. */
  readonly #removed: Head[] = [];

  constructor(world: World, registry: Registry, broken: Broken) {
    this.#world = world;
    this.#registry = registry;
    this.#broken = broken;
  }

  // ---- inside the event

  added(id: number, name: string): void {
    const head = this.#findHead((each) => each.id === id)!;
    const { subsystem, instance } = head;
    if (name !== `nvme${subsystem.instance}n${instance}`)
      this.#broken('NUM.2', `head ${instance} of ${subsystem.name} is called ${name}`);
    if (this.#findHead((each) => each.name === name && each !== head) !== undefined)
      this.#broken('NUM.9', `two heads are called ${name}`);
    this.#heads.set(id, { head, wwid: head.wwid, orphaned: undefined });
    if (this.#expired.get(head.wwid) === this.#world.clock.micros)
      this.#world.mark('HEAD.10 the path came in the tick of the timer, and after it');
    const waits = subsystem.heads.some((other) => other.nsid === head.nsid && other.wwid !== head.wwid);
    if (waits) this.#world.mark('HEAD.7 another identity came while a head waited');
  }

  #findHead(is: (head: Head) => boolean): Head | undefined {
    for (const { heads } of this.#registry.subsystems) {
      const found = heads.find(is);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** HEAD.1, HEAD.5: a head that waits goes when the time is over that was set when its last path went, or at once by 0. */
  removed(id: number, name: string, why: string): void {
    const known = this.#heads.get(id)!;
    const { orphaned, head } = known;
    this.#heads.delete(id);
    this.#removed.push(head);
    const { micros } = this.#world.clock;
    if (orphaned === undefined) {
      this.#world.mark('HEAD.2 a head went with its last path');
      return;
    }
    this.#expired.set(known.wwid, micros);
    const due = orphaned.at + orphaned.secs * 1_000_000;
    if (micros === due) this.#world.mark('HEAD.5 no path came in time');
    else if (head.delayedRemoval === 0) this.#world.mark('HEAD.11 set to 0 while it waited');
    else
      this.#broken(
        'HEAD.1',
        `${name} was removed at ${micros} µs (${why}); it waits since ${orphaned.at} µs for ${orphaned.secs} s`,
      );
  }

  pathAdded(id: number, name: string): void {
    const head = this.#findHead(({ paths }) => paths.some((path) => path.id === id));
    const path = head?.paths.find((each) => each.id === id);
    if (head === undefined || path === undefined) {
      this.#broken('HEAD.10', `${name} is a path of a head that is gone`);
      return;
    }
    const { subsystem, instance } = head;
    if (name !== `nvme${subsystem.instance}c${path.controller.instance}n${instance}`)
      this.#broken('NUM.10', `a path of ${path.controller.name} to ${head.name} is called ${name}`);
    if (this.#paths.has(name)) this.#broken('NUM.10', `two paths are called ${name}`);
    this.#paths.add(name);
    // Of a head that is new, nothing is known yet.
    const known = this.#heads.get(head.id);
    if (known !== undefined && known.wwid !== head.wwid)
      this.#broken('HEAD.7', `${name} shows ${head.wwid}, and joined ${head.name}, which was ${known.wwid}`);
    if (known?.orphaned === undefined) return;
    const { at, secs } = known.orphaned;
    this.#world.mark('HEAD.4 a path returned in time');
    if (!path.info.shared) this.#world.mark('HEAD.8 a private path returned to the head that waited');
    if (this.#world.clock.micros === at + secs * 1_000_000)
      this.#world.mark('HEAD.10 the path came in the tick of the timer, and before it');
  }

  pathRemoved(name: string): void {
    this.#paths.delete(name);
  }

  // ---- after it

  check(): void {
    for (const known of this.#heads.values()) this.#checkHead(known);
    for (const head of this.#removed.splice(0)) this.#checkRemoved(head);
  }

  #checkHead(known: KnownHead): void {
    const { head } = known;
    const { micros } = this.#world.clock;
    if (head.paths.length === 0) this.#checkWithout(head);
    if (!head.state.is('orphaned')) {
      known.orphaned = undefined;
      return;
    }
    if (known.orphaned !== undefined) return;
    const secs = head.delayedRemoval;
    known.orphaned = { at: micros, secs };
    const due = Math.round((head.state.timers()[0]?.due ?? NaN) * 1000);
    if (secs === 0 || due !== micros + secs * 1_000_000)
      this.#broken('HEAD.1', `${head.name} lost its last path with ${secs} s, and goes at ${due} µs`);
  }

  /** HEAD.2, HEAD.8: a head without a path waits for one, and refuses none that is its own. */
  #checkWithout(head: Head): void {
    if (!head.state.is('orphaned'))
      this.#broken('HEAD.2', `${head.name} has no path, does not wait for one, and stays`);
    if (this.#findHead((each) => each !== head && each.wwid === head.wwid && each.paths.length > 0))
      this.#broken('HEAD.8', `${head.name} has no path, and another head has that of ${head.wwid}`);
    for (const { refused, controller } of head.subsystem.sides.values()) {
      const { info } = refused.get(head.nsid) ?? {};
      if (info !== undefined && info.uuid === head.info.uuid && info.blockSize === head.blockSize)
        this.#broken('HEAD.8', `${head.name} has no path, and the one by ${controller.name} is refused`);
    }
  }

  /** HEAD.2, HEAD.5, HEAD.10: with a head its paths are gone, and nobody waits for one. */
  #checkRemoved(head: Head): void {
    const { requeued, held, delayed } = head.traffic.waiting;
    if (head.paths.length > 0) this.#broken('HEAD.10', `${head.name} is gone, and holds a path`);
    if (requeued + held + delayed > 0)
      this.#broken('HEAD.2', `${head.name} is gone, and ${requeued} + ${held} + ${delayed} commands wait`);
    const heir = this.#findHead((each) => each.wwid === head.wwid);
    if (heir !== undefined) this.#world.mark('HEAD.10 a head went, and another has its namespace');
  }

  /** Those that have no path, and wait for one. */
  get waiting(): Head[] {
    return [...this.#heads.values()].filter(({ orphaned }) => orphaned).map(({ head }) => head);
  }
}
