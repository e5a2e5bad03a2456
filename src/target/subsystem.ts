/**
 * An NVM subsystem: it owns its namespaces, knows its controllers, and says who may connect and who sees what. All
 * changes of attachments go through it, and it tells the hosts. Controllers come and go; nothing of theirs touches a
 * namespace (LIFE.1).
 */
import { AnaState } from '../nvme/ana-log.ts';
import { DNR, Status } from '../nvme/status.ts';
import { GroupChanges } from './ana.ts';
import { Attachment, meet, type Verdict } from './attachment.ts';
import type { Controller } from './controller.ts';
import type { Namespace, Owner } from './namespace.ts';
import type { Target } from './target.ts';

export interface SubsystemIdentity {
  readonly nqn: string;
  /** At most 20 ASCII characters. */
  readonly serial: string;
  /** At most 40 ASCII characters. */
  readonly model: string;
}

export interface SubsystemOptions extends SubsystemIdentity {
  /** False: one controller at a time (LIFE.14). */
  readonly shared?: boolean | undefined;
  /** Host NQNs that may connect; undefined: every host. */
  readonly hosts?: Iterable<string> | undefined;
  /** I/O queues that a controller may have; as many as the target allows if not given. */
  readonly ioQueues?: number | undefined;
  /** Firmware Revision, at most 8 ASCII characters; this program's version if not given. */
  readonly firmware?: string | undefined;
  /** IEEE OUI Identifier, 24 bits; none, which is 0, if not given. */
  readonly ieeeOui?: number | undefined;
  /** False: its hosts hear nothing of Asymmetric Namespace Access, and get Internal Path Error where it refuses. */
  readonly ana?: boolean | undefined;
  /** CNTLIDs that it gives; several targets that act as one subsystem each have a range of their own. */
  readonly cntlids?: { readonly first: number; readonly last: number } | undefined;
}

/** Firmware Revision where none is given. */
const FIRMWARE = '0.1.0';
/** CNTLIDs go from 1 to FFEFh (Base 2.1, section 3.1.1). */
export const FIRST_CNTLID = 1;
export const LAST_CNTLID = 0xffef;

export class Subsystem {
  readonly target: Target;
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  readonly shared: boolean;
  readonly ieeeOui: number;
  readonly ana: boolean;
  readonly cntlids: { readonly first: number; readonly last: number };
  /** The discovery subsystem has no namespaces and no I/O queues. */
  readonly discovery: boolean;
  /** By NSID, in ascending order. */
  readonly namespaces = new Map<number, Namespace>();
  /** By CNTLID. */
  readonly controllers = new Map<number, Controller>();
  /** Milliseconds with I/O commands under way, as far as looking now and then can tell (Controller Busy Time). */
  busy = 0;
  readonly groupChanges = new GroupChanges();
  /** It is being deleted: nobody connects any more. */
  deleting = false;
  #ioQueues: number;
  #firmware: string;
  #hosts: ReadonlySet<string> | undefined;
  #nextCntlid: number;

  constructor(target: Target, options: SubsystemOptions, discovery = false) {
    this.target = target;
    this.nqn = options.nqn;
    this.serial = options.serial;
    this.model = options.model;
    this.shared = options.shared ?? true;
    this.ieeeOui = options.ieeeOui ?? 0;
    this.ana = options.ana ?? true;
    this.#ioQueues = options.ioQueues ?? target.limits.ioQueues;
    this.#firmware = options.firmware ?? FIRMWARE;
    this.#hosts = options.hosts && new Set(options.hosts);
    this.cntlids = options.cntlids ?? { first: FIRST_CNTLID, last: LAST_CNTLID };
    this.#nextCntlid = this.cntlids.first;
    this.discovery = discovery;
  }

  // ---- hosts

  /** Host NQNs that may connect; undefined: every host. */
  get hosts(): ReadonlySet<string> | undefined {
    return this.#hosts;
  }

  admits(hostnqn: string): boolean {
    return this.#hosts === undefined || this.#hosts.has(hostnqn);
  }

  /** Says who may connect. Hosts that no longer may are disconnected; those that can see a difference are told. */
  setHosts(hosts: Iterable<string> | undefined): void {
    const before = this.#hosts;
    this.#hosts = hosts && new Set(hosts);
    const admitted = (hostnqn: string): boolean => before === undefined || before.has(hostnqn);
    for (const controller of [...this.controllers.values()])
      if (!this.admits(controller.hostnqn)) controller.remove('host removed');
    this.target.discoveryChanged((hostnqn) => admitted(hostnqn) !== this.admits(hostnqn));
  }

  // ---- what can change while hosts are connected

  /** I/O queues that a controller may have. */
  get ioQueues(): number {
    return this.#ioQueues;
  }

  /**
   * Says how many I/O queues a controller may have; undefined: as many as the target allows. A controller keeps what it
   * was told for its life, so those that are connected end, and their hosts come back with the new number.
   */
  setIoQueues(count: number | undefined): void {
    const before = this.#ioQueues;
    this.#ioQueues = count ?? this.target.limits.ioQueues;
    if (this.#ioQueues === before) return;
    for (const controller of [...this.controllers.values()]) controller.remove('number of queues changed');
  }

  get firmware(): string {
    return this.#firmware;
  }

  /** What hosts are told from now on. */
  setFirmware(revision: string | undefined): void {
    this.#firmware = revision ?? FIRMWARE;
  }

  // ---- controllers

  /** The next free CNTLID, going round so that a number comes back as late as possible; undefined: all are taken. */
  allocateCntlid(): number | undefined {
    const { first, last } = this.cntlids;
    for (let tried = first; tried <= last; tried++) {
      const cntlid = this.#nextCntlid;
      this.#nextCntlid = cntlid === last ? first : cntlid + 1;
      if (!this.controllers.has(cntlid)) return cntlid;
    }
    return undefined;
  }

  /** CC.EN became 1: the controller gets all that its host sees (LIFE.3). */
  enabled(controller: Controller): void {
    for (const namespace of this.namespaces.values())
      if (this.#meet(namespace, controller) === 'attach') this.#take(namespace, controller);
  }

  /** The controller is disabled or gone; what was private to it may be another one's. */
  disabled(controller: Controller): void {
    const attachments = [...controller.attachments.values()];
    controller.attachments.clear();
    controller.groups.clear();
    for (const attachment of attachments) {
      attachment.end();
      attachment.namespace.attachments.delete(controller.cntlid);
    }
    for (const { namespace } of attachments) if (!namespace.shared) this.#offer(namespace);
  }

  // ---- namespaces

  /** The lowest NSID that is free (LIFE.10). */
  freeNsid(): number {
    let nsid = 1;
    while (this.namespaces.has(nsid)) nsid++;
    return nsid;
  }

  /** A new namespace, under an NSID that is free. */
  add(namespace: Namespace): void {
    this.namespaces.set(namespace.nsid, namespace);
    const sorted = [...this.namespaces].sort(([a], [b]) => a - b);
    this.namespaces.clear();
    for (const [nsid, each] of sorted) this.namespaces.set(nsid, each);
    this.groupChanges.add(namespace.anagrpid);
    this.#offer(namespace);
  }

  /**
   * Takes the namespace away from every host, which is told; new commands get Invalid Namespace or Format (LIFE.6). It
   * is the caller's to close.
   */
  remove(nsid: number): Namespace | undefined {
    const namespace = this.namespaces.get(nsid);
    if (namespace === undefined) return undefined;
    this.namespaces.delete(nsid);
    this.groupChanges.add(namespace.anagrpid);
    for (const attachment of [...namespace.attachments.values()]) this.#end(attachment);
    return namespace;
  }

  /** Every controller that has it tells its host that it is different. */
  changed(namespace: Namespace): void {
    for (const { controller } of namespace.attachments.values()) controller.namespaceChanged(namespace.nsid);
  }

  /** Puts the namespace into another ANA group, under I/O; hosts are told by ANA Change alone. */
  move(namespace: Namespace, anagrpid: number): void {
    const before = namespace.anagrpid;
    if (before === anagrpid) return;
    this.target.checkGroup(anagrpid);
    namespace.anagrpid = anagrpid;
    this.groupChanges.add(before);
    this.groupChanges.add(anagrpid);
    namespace.update();
    for (const { controller } of namespace.attachments.values()) {
      controller.groups.delete(before);
      controller.groups.add(anagrpid);
      controller.anaChanged();
    }
  }

  /** Says which hosts see the namespace; undefined: all. It appears at some and goes from others. */
  mask(namespace: Namespace, hosts: Iterable<string> | undefined): void {
    namespace.hosts = hosts && new Set(hosts);
    for (const attachment of [...namespace.attachments.values()])
      if (namespace.hosts?.has(attachment.controller.hostnqn) === false) this.#end(attachment);
    this.#offer(namespace);
  }

  // ---- attaching and detaching by an operator, or by Namespace Attachment (LIFE.5)

  /** Attaches the namespace to one controller. The status: 0, or why not (Base 2.1, section 5.1.20). */
  attach(namespace: Namespace, controller: Controller): number {
    const refused = this.attachRefusal(namespace, controller);
    if (refused !== 0) return refused;
    controller.detached.delete(namespace.nsid);
    if (controller.ready) {
      this.#take(namespace, controller);
      controller.namespaceChanged(namespace.nsid);
    }
    return 0;
  }

  /** What `attach` would say. */
  attachRefusal(namespace: Namespace, controller: Controller): number {
    if (namespace.attachments.has(controller.cntlid)) return Status.NamespaceAlreadyAttached | DNR;
    switch (this.#meet(namespace, controller, true)) {
      case 'masked':
        return Status.InvalidNamespace | DNR;
      case 'another host’s':
      case 'taken':
        return Status.NamespaceIsPrivate | DNR;
      case 'full':
        return Status.NamespaceAttachmentLimitExceeded | DNR;
    }
    // A controller that could do nothing with it for good is refused, so that the operator looks elsewhere.
    const lost = controller.port.ana.state(namespace.anagrpid) === AnaState.PersistentLoss;
    return lost ? Status.AnaAttachFailed | DNR : 0;
  }

  /** Takes the namespace from one controller for good; a private one has no owner any more. */
  detach(namespace: Namespace, controller: Controller): number {
    const attachment = namespace.attachments.get(controller.cntlid);
    if (attachment === undefined) return Status.NamespaceNotAttached | DNR;
    controller.detached.add(namespace.nsid);
    if (!namespace.shared) this.#own(namespace, undefined);
    this.#end(attachment);
    if (!namespace.shared) this.#offer(namespace);
    return 0;
  }

  /** The operator takes a private namespace from the host that owns it. */
  release(namespace: Namespace): void {
    this.#own(namespace, undefined);
    for (const attachment of [...namespace.attachments.values()])
      this.detach(namespace, attachment.controller);
  }

  // ---- below

  #meet(namespace: Namespace, controller: Controller, again = false): Verdict {
    const { attachments, shared, hosts, owner } = namespace;
    return meet({
      hostnqn: controller.hostnqn,
      hostid: controller.hostid,
      detached: !again && controller.detached.has(namespace.nsid),
      full: controller.attachments.size >= this.target.limits.attachments,
      shared,
      hosts,
      owner,
      taken: attachments.size > 0 && !attachments.has(controller.cntlid),
    });
  }

  /** Attaches the namespace to every running controller that may have it and has not, and tells their hosts. */
  #offer(namespace: Namespace): void {
    if (namespace.removed) return;
    for (const controller of this.controllers.values()) {
      if (!controller.ready || controller.attachments.has(namespace.nsid)) continue;
      if (this.#meet(namespace, controller) !== 'attach') continue;
      this.#take(namespace, controller);
      controller.namespaceChanged(namespace.nsid);
    }
  }

  #take(namespace: Namespace, controller: Controller): void {
    const attachment = new Attachment(controller, namespace);
    controller.attachments.set(namespace.nsid, attachment);
    controller.groups.add(namespace.anagrpid);
    namespace.attachments.set(controller.cntlid, attachment);
    if (!namespace.shared && namespace.owner === undefined) {
      const { hostnqn, hostid } = controller;
      this.#own(namespace, { hostnqn, hostid });
    }
    attachment.update();
  }

  /** One controller loses the namespace, and tells its host. */
  #end(attachment: Attachment): void {
    const { controller, namespace } = attachment;
    attachment.end();
    namespace.attachments.delete(controller.cntlid);
    controller.attachments.delete(namespace.nsid);
    controller.groups.delete(namespace.anagrpid);
    controller.namespaceChanged(namespace.nsid);
  }

  /** Nothing is read or written before the new owner is on stable storage: after a restart it must be the same. */
  #own(namespace: Namespace, owner: Owner | undefined): void {
    if (owner === undefined && namespace.owner === undefined) return;
    namespace.owner = owner;
    namespace.ownerSaved = false;
    if (owner === undefined) delete namespace.facts.owner;
    else namespace.facts.owner = owner;
    namespace.saveFacts((error) => {
      if (namespace.owner !== owner) return;
      if (error === undefined) {
        namespace.ownerSaved = true;
        namespace.update();
        // A host that looked meanwhile found it not ready (NSTAT) and waits to be told.
        this.changed(namespace);
        return;
      }
      this.target.env.trace.event('error', 'the owner of a private namespace cannot be kept', {
        subsystem: this.nqn,
        nsid: namespace.nsid,
        error: error.message,
      });
      if (owner === undefined) return;
      namespace.owner = undefined;
      delete namespace.facts.owner;
      for (const attachment of [...namespace.attachments.values()]) this.#end(attachment);
    });
  }
}
