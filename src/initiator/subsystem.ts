/**
 * A subsystem as a host knows it: its controllers, and the heads that they lead to. It lives while it has either
 * (NUM.7), keeps the number of its first controller, and gives each head a number of its own.
 */
import { assert } from '../runtime/assert.ts';
import type { Controller } from './controller.ts';
import { Head } from './head.ts';
import { type NamespaceInfo, sameIdentity } from './namespace.ts';
import { Numbers } from './numbers.ts';
import type { Path } from './path.ts';
import type { Registry } from './registry.ts';

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
  /** In the order of their numbers. */
  readonly heads: Head[] = [];
  readonly #headNumbers = new Numbers(1);
  /** Open handles: users who want it to stay, and its number with it, whatever happens to its heads (NUM.7). */
  handles = 0;
  /** Gone from the registry. */
  gone = false;

  /** `first` is known (Identify Controller); its number becomes the subsystem's. */
  constructor(registry: Registry, id: number, first: Controller) {
    const identified = first.identified!;
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

  /** The head of the namespace with this NSID; with several (HEAD.7) the newest. */
  head(nsid: number): Head | undefined {
    return this.heads.findLast((head) => head.nsid === nsid);
  }

  /** Whether another controller may join: why not, as a sentence, or undefined. */
  refuses(controller: Controller): string | undefined {
    const identified = controller.identified!;
    if (controller.subsystem === this && identified.subnqn !== this.subnqn)
      return `it calls itself ${identified.subnqn} now`;
    if (identified.sn !== this.serial || identified.mn !== this.model)
      return `serial and model number are not those of ${this.name}`;
    for (const other of this.controllers) {
      if (other === controller || other.association?.open !== true) continue;
      if (other.cntlid === controller.cntlid) return `${other.name} has the same CNTLID ${controller.cntlid}`;
      if (other.identified!.cmic.multipleControllers === 0 || identified.cmic.multipleControllers === 0)
        return 'it does not support more than one controller (CMIC)';
    }
    return undefined;
  }

  join(controller: Controller): void {
    this.controllers.add(controller);
    controller.subsystem = this;
  }

  /**
   * Something about the controller is another than before: it is live and its paths are visible, it is lost, it has
   * failed fast, or it goes for good.
   */
  controllerChanged(controller: Controller): void {
    if (!controller.mayReturn) this.leave(controller);
  }

  /** The controller goes: its paths go first, so that no new I/O takes them. */
  leave(controller: Controller): void {
    for (const path of this.#pathsOf(controller)) this.#removePath(path, 'controller goes');
  }

  /** The controller is dead. */
  forget(controller: Controller): void {
    this.controllers.delete(controller);
  }

  #pathsOf(controller: Controller): Path[] {
    return this.heads.flatMap((head) => head.paths.filter((path) => path.controller === controller));
  }

  // ---- namespaces

  /** What a scan of the controller found, in all. */
  scanned(controller: Controller, found: readonly NamespaceInfo[]): void {
    const byNsid = new Map(found.map((info) => [info.nsid, info]));
    for (const path of this.#pathsOf(controller)) {
      const info = byNsid.get(path.info.nsid);
      if (info === undefined) this.#removePath(path, 'namespace is gone');
      else if (!sameIdentity(info, path.info)) this.#removePath(path, 'identifiers changed');
      else if (info.blockSize !== path.info.blockSize) this.#removePath(path, 'block size changed');
      else {
        byNsid.delete(info.nsid);
        this.#update(path, info);
      }
    }
    for (const info of byNsid.values()) this.#addPath(controller, info);
  }

  #addPath(controller: Controller, info: NamespaceInfo): void {
    const joins = (head: Head): boolean =>
      sameIdentity(head.info, info) &&
      head.blockSize === info.blockSize &&
      info.shared &&
      head.paths.every((path) => path.info.shared && path.controller !== controller);
    let head = this.heads.find(joins);
    if (head === undefined) {
      head = new Head(this, this.#headNumbers.take('head'), this.registry.nextId(), info);
      this.heads.push(head);
      this.heads.sort((a, b) => a.instance - b.instance);
    }
    const path = head.addPath(controller, info);
    this.#update(path, info);
    controller.log('info', 'namespace', {
      head: head.name,
      path: path.name,
      nsid: info.nsid,
      wwid: head.wwid,
    });
  }

  /** Size and write protection follow the path that told them last. */
  #update(path: Path, info: NamespaceInfo): void {
    const { head, controller } = path;
    const before = head.info;
    path.info = info;
    head.info = info;
    if (before.blocks !== info.blocks)
      controller.log('info', 'namespace has another size', {
        head: head.name,
        before: before.blocks,
        blocks: info.blocks,
      });
  }

  #removePath(path: Path, why: string): void {
    const { head, controller } = path;
    controller.log('info', 'path goes', { path: path.name, why });
    head.removePath(path);
    if (head.paths.length > 0) return;
    // The last path goes, the head goes at once (HEAD.2).
    head.gone = true;
    this.heads.splice(this.heads.indexOf(head), 1);
    this.#headNumbers.release(head.instance, 'head');
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    for (const head of this.heads) {
      head.invariants();
      assert(!head.gone, `${head.name}: gone, but listed`);
      for (const path of head.paths)
        assert(this.controllers.has(path.controller), `${path.name}: its controller is not of ${this.name}`);
    }
    assert(!this.gone || this.controllers.size === 0, `${this.name}: gone, but it has a controller`);
  }
}
