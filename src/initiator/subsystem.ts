/**
 * A subsystem as a host knows it: its controllers, and the heads that they lead to. It lives while it has either, or
 * is held (NUM.7), keeps the number of its first controller, and gives each head a number of its own.
 */
import { assert } from '../runtime/assert.ts';
import type { Controller } from './controller.ts';
import { ControllerPaths } from './controller-paths.ts';
import type { WriteFailover } from './failover.ts';
import { Head } from './head.ts';
import { place, type KnownHead } from './namespace-identity.ts';
import { type NamespaceInfo, sameIdentity } from './namespace.ts';
import { Numbers } from './numbers.ts';
import type { Path } from './path.ts';
import type { Registry } from './registry.ts';
import type { IoPolicy } from './select.ts';

/** What a user decides for the heads of a subsystem. */
export interface HeadSettings {
  readonly iopolicy: IoPolicy;
  readonly writeFailover: WriteFailover;
  /** `delayed_removal_secs` of heads that are made from now on, seconds. */
  readonly delayedRemoval: number;
}

/** Linux's, and no stale write. */
export const DEFAULT_SETTINGS: HeadSettings = { iopolicy: 'numa', writeFailover: 'safe', delayedRemoval: 0 };

export class Subsystem {
  readonly registry: Registry;
  readonly nqn: string;
  /** The N of nvme-subsysN: the number of its first controller (NUM.2). */
  readonly instance: number;
  /** Never used again (NUM.11). */
  readonly id: number;
  readonly discovery: boolean;
  /** As its first controller identified itself; targets that leave it out are taken as they are. */
  readonly subnqn: string;
  /** From Identify Controller, the same for all of its controllers. */
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly vid: number;
  readonly controllers = new Set<Controller>();
  /** What the heads keep of each controller. */
  readonly sides = new Map<Controller, ControllerPaths>();
  /** Change with `set`. */
  settings: HeadSettings = DEFAULT_SETTINGS;
  /** In the order of their numbers. */
  readonly heads: Head[] = [];
  readonly #headNumbers = new Numbers(1);
  #handles = 0;
  /** Gone from the registry. */
  gone = false;

  /** `first` is known (Identify Controller); its number becomes the subsystem's. */
  constructor(registry: Registry, id: number, first: Controller) {
    const identified = first.capabilities.identified!;
    this.registry = registry;
    this.nqn = first.options.subnqn;
    this.instance = first.instance;
    this.id = id;
    this.discovery = first.discovery;
    this.subnqn = identified.subnqn;
    this.serial = identified.sn;
    this.model = identified.mn;
    this.firmware = identified.fr;
    this.vid = identified.vid;
  }

  get name(): string {
    return `nvme-subsys${this.instance}`;
  }

  /** Open handles, see `hold`. */
  get handles(): number {
    return this.#handles;
  }

  /**
   * Somebody uses it: it stays, and its number with it, whatever becomes of its controllers and heads, until what this
   * returns is called (NUM.7). Once more does nothing.
   */
  hold(): () => void {
    let held = true;
    this.#handles++;
    return () => {
      if (!held) return;
      held = false;
      this.#handles--;
      this.registry.collect(this);
    };
  }

  /** The head of the namespace with this NSID; with several (HEAD.7) the newest. */
  head(nsid: number): Head | undefined {
    return this.heads.findLast((head) => head.nsid === nsid);
  }

  /** Why there is no head of a namespace that a controller shows; undefined: none shows it. */
  whyNot(nsid: number): string | undefined {
    for (const { refused, skipped } of this.sides.values()) {
      const why = refused.get(nsid)?.why ?? skipped.get(nsid);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** Whether another controller may join: why not, as a sentence, or undefined. */
  refuses(controller: Controller): string | undefined {
    const identified = controller.capabilities.identified!;
    if (controller.subsystem === this && identified.subnqn !== this.subnqn)
      return `it calls itself ${identified.subnqn} now`;
    if (identified.sn !== this.serial || identified.mn !== this.model)
      return `serial and model number are not those of ${this.name}`;
    for (const other of this.controllers) {
      if (other === controller || other.association?.open !== true) continue;
      if (other.cntlid === controller.cntlid) return `${other.name} has the same CNTLID ${controller.cntlid}`;
      if (
        other.capabilities.identified!.cmic.multipleControllers === 0 ||
        identified.cmic.multipleControllers === 0
      )
        return 'it does not support more than one controller (CMIC)';
    }
    return undefined;
  }

  join(controller: Controller): void {
    this.controllers.add(controller);
    this.sides.set(controller, new ControllerPaths(controller));
    controller.subsystem = this;
    this.set(controller.options.heads ?? {});
    this.prefer(controller, controller.options.preferred ?? false);
  }

  /** What is left out stays as it is. */
  set(changes: Partial<HeadSettings>): void {
    const { writeFailover } = this.settings;
    this.settings = { ...this.settings, ...changes };
    if (this.settings.writeFailover !== writeFailover && this.settings.writeFailover === 'immediate')
      for (const head of this.heads) head.traffic.releaseHeld();
  }

  /** Names the controllers that the policy `preferred` takes first. */
  prefer(controller: Controller, preferred: boolean): void {
    const side = this.sides.get(controller);
    if (side !== undefined) side.preferred = preferred;
  }

  // ---- what controllers tell

  /** Bytes of the ANA log that setup is to read; 0: ANA is not used. */
  anaLogBytes(controller: Controller): number {
    return this.sides.get(controller)?.anaLogBytes ?? 0;
  }

  /** It was read, before the controller is live: applied when it is (QUIESCE.11). */
  earlyAnaLog(controller: Controller, log: Uint8Array): string | undefined {
    return this.sides.get(controller)?.earlyAnaLog(log);
  }

  /** An ANA Change event came. True: the log is read in full, and that unmasks the event; false: nobody needs it. */
  anaChanged(controller: Controller): boolean {
    return this.sides.get(controller)?.anaChanged() ?? false;
  }

  /** It is live, and its namespaces are about to be looked at. */
  controllerLive(controller: Controller): void {
    this.sides.get(controller)?.live();
  }

  /**
   * Something about the controller is another than before: it is live and its paths are visible, it is lost, it has
   * failed fast, or it goes for good.
   */
  controllerChanged(controller: Controller): void {
    if (!controller.mayReturn) this.#leave(controller);
    else this.sides.get(controller)?.update();
  }

  /** The controller goes: its paths go first, so that no new I/O takes them. */
  #leave(controller: Controller): void {
    const side = this.sides.get(controller);
    if (side === undefined) return;
    side.refused.clear();
    side.skipped = new Map();
    for (const path of [...side.paths.values()]) this.#removePath(path, 'controller goes');
    this.#offerAgain();
  }

  /** What was given to its connections leaves now, not at the end of the turn: it has waited long enough. */
  flush(): void {
    for (const { association } of this.controllers)
      for (const connection of association?.connections ?? []) connection.flush();
  }

  /** The controller is dead. */
  forget(controller: Controller): void {
    this.sides.get(controller)?.end();
    this.sides.delete(controller);
    this.controllers.delete(controller);
  }

  // ---- namespaces

  /**
   * What a scan of the controller found, in all. `unknown`: NSIDs of namespaces that are there, but of which nothing can
   * be said now: their paths stay as they are, but none is usable before it was looked at in this association. `skipped`:
   * why those are not among them that were listed.
   */
  scanned(
    controller: Controller,
    found: readonly NamespaceInfo[],
    unknown: ReadonlySet<number> = new Set(),
    skipped: ReadonlyMap<number, string> = new Map(),
  ): void {
    const side = this.sides.get(controller)!;
    side.skipped = skipped;
    const byNsid = new Map(found.map((info) => [info.nsid, info]));
    side.refused.clear();
    for (const path of [...side.paths.values()]) {
      const info = byNsid.get(path.info.nsid);
      if (info === undefined) {
        if (!unknown.has(path.info.nsid)) this.#removePath(path, 'namespace is gone');
      } else if (!sameIdentity(info, path.info)) this.#removePath(path, 'identifiers changed');
      else if (info.blockSize !== path.info.blockSize) this.#removePath(path, 'block size changed');
      else {
        byNsid.delete(info.nsid);
        this.#tell(path, info);
      }
    }
    const known = new Set(side.paths.values());
    for (const info of byNsid.values()) this.#offer(side, info);
    this.#offerAgain();
    side.scanned([...side.paths.values()].some((path) => !known.has(path)));
    side.update();
  }

  /** A namespace is shown: a path to the head that it belongs to, or it cannot be used, and why is said. */
  #offer(side: ControllerPaths, info: NamespaceInfo): void {
    const { controller } = side;
    const { cmic, oacs } = controller.capabilities.identified!;
    const unique = info.shared || cmic.ana === 1 || oacs.namespaceManagement === 1;
    const placed = place(info, unique, this.#known(controller, info));
    if (placed !== 'own head' && 'refuse' in placed) {
      if (side.refused.get(info.nsid)?.why !== placed.refuse)
        controller.log('warn', 'namespace is not used', { nsid: info.nsid, why: placed.refuse });
      side.refused.set(info.nsid, { info, why: placed.refuse });
      return;
    }
    side.refused.delete(info.nsid);
    const head = placed === 'own head' ? this.#newHead(info) : placed.join.head;
    const path = head.addPath(side, info);
    // It is there before anything else is told of it.
    this.registry.journal.record('path added', path.name, path.id, `to ${head.name}, NSID ${info.nsid}`);
    this.#tell(path, info);
    controller.log('info', 'namespace', {
      head: head.name,
      path: path.name,
      nsid: info.nsid,
      wwid: head.wwid,
    });
  }

  #known(controller: Controller, info: NamespaceInfo): (KnownHead & { readonly head: Head })[] {
    const heads = this.registry.headsById.of(info);
    for (const head of this.heads) if (head.nsid === info.nsid) heads.add(head);
    return [...heads].map((head) => ({
      head,
      name: head.name,
      info: head.info,
      sameSubsystem: head.subsystem === this,
      shared: head.paths.length === 0 ? head.info.shared : head.paths.every((path) => path.info.shared),
      paths: head.paths.length,
      viaThis: head.paths.some((path) => path.controller === controller),
    }));
  }

  #newHead(info: NamespaceInfo): Head {
    const head = new Head(this, this.#headNumbers.take('head'), this.registry.nextId(), info);
    this.heads.push(head);
    this.heads.sort((a, b) => a.instance - b.instance);
    this.registry.headsById.add(info, head);
    this.registry.journal.record('head added', head.name, head.id, head.wwid);
    return head;
  }

  /** Namespaces that were refused because of a path that has gone since. */
  #offerAgain(): void {
    for (const side of this.sides.values())
      for (const { info } of [...side.refused.values()])
        if (!side.paths.has(info.nsid)) {
          this.#offer(side, info);
          if (side.paths.has(info.nsid)) side.ana?.read();
        }
  }

  /** Size and write protection follow the path that told them last. */
  #tell(path: Path, info: NamespaceInfo): void {
    const { head, controller } = path;
    const before = head.info;
    path.info = info;
    path.seen = true;
    head.info = info;
    if (before.blocks !== info.blocks) {
      this.registry.journal.record('head changed', head.name, head.id, `${info.blocks} blocks`);
      controller.log('info', 'namespace has another size', {
        head: head.name,
        before: before.blocks,
        blocks: info.blocks,
      });
    }
    head.update();
  }

  #removePath(path: Path, why: string): void {
    const { head, controller } = path;
    controller.log('info', 'path goes', { path: path.name, why });
    this.registry.journal.record('path removed', path.name, path.id, why);
    head.removePath(path);
  }

  /** The head is gone; its number is free, and perhaps the subsystem's (NUM.7). */
  headGone(head: Head, why: string): void {
    const at = this.heads.indexOf(head);
    assert(at >= 0, `${head.name} is a head of ${this.name}`);
    this.heads.splice(at, 1);
    this.registry.headsById.remove(head.info, head);
    this.registry.journal.record('head removed', head.name, head.id, why);
    this.#headNumbers.release(head.instance, 'head');
    this.registry.collect(this);
  }

  /** The host stops: heads that wait for a path do not wait any longer (HEAD.12). */
  stop(): void {
    this.set({ delayedRemoval: 0 });
    for (const head of [...this.heads]) head.setDelayedRemoval(0);
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    for (const head of this.heads) {
      head.invariants();
      assert(!head.gone, `${head.name}: gone, but listed`);
      for (const path of head.paths)
        assert(this.controllers.has(path.controller), `${path.name}: its controller is not of ${this.name}`);
    }
    for (const [controller, { paths, inFlight }] of this.sides) {
      assert(this.controllers.has(controller), `${controller.name}: gone, but ${this.name} has paths of it`);
      assert(inFlight >= 0, `${controller.name}: a command ended twice`);
      for (const path of paths.values()) assert(!path.gone, `${path.name}: gone, but kept`);
    }
    assert(!this.gone || this.controllers.size === 0, `${this.name}: gone, but it has a controller`);
  }
}
