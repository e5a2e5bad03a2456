/**
 * An NVM subsystem: it owns its namespaces, knows its controllers, and says who may connect. Controllers come and go;
 * nothing of theirs touches a namespace (LIFE.1).
 */
import { assert } from '../runtime/assert.ts';
import type { Controller } from './controller.ts';
import type { Namespace } from './namespace.ts';
import type { Target } from './target.ts';

export interface SubsystemIdentity {
  readonly nqn: string;
  /** At most 20 ASCII characters. */
  readonly serial: string;
  /** At most 40 ASCII characters. */
  readonly model: string;
}

/** CNTLIDs go from 1 to FFEFh (Base 2.1, section 3.1.1). */
const LAST_CNTLID = 0xffef;

export class Subsystem {
  readonly target: Target;
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  /** The discovery subsystem has no namespaces and no I/O queues. */
  readonly discovery: boolean;
  /** By NSID, in ascending order. */
  readonly namespaces = new Map<number, Namespace>();
  /** By CNTLID. */
  readonly controllers = new Map<number, Controller>();
  /** Host NQNs that may connect; undefined: every host. */
  hosts: ReadonlySet<string> | undefined = undefined;
  #nextCntlid = 1;

  constructor(target: Target, identity: SubsystemIdentity, discovery = false) {
    this.target = target;
    this.nqn = identity.nqn;
    this.serial = identity.serial;
    this.model = identity.model;
    this.discovery = discovery;
  }

  admits(hostnqn: string): boolean {
    return this.hosts === undefined || this.hosts.has(hostnqn);
  }

  /** The next free CNTLID, going round so that a number comes back as late as possible; undefined: all are taken. */
  allocateCntlid(): number | undefined {
    for (let tried = 0; tried < LAST_CNTLID; tried++) {
      const cntlid = this.#nextCntlid;
      this.#nextCntlid = cntlid === LAST_CNTLID ? 1 : cntlid + 1;
      if (!this.controllers.has(cntlid)) return cntlid;
    }
    return undefined;
  }

  /** The lowest NSID that is free (LIFE.10). */
  freeNsid(): number {
    let nsid = 1;
    while (this.namespaces.has(nsid)) nsid++;
    return nsid;
  }

  add(namespace: Namespace): void {
    assert(!this.namespaces.has(namespace.nsid), `namespace ${namespace.nsid} of ${this.nqn} exists`);
    this.namespaces.set(namespace.nsid, namespace);
    const sorted = [...this.namespaces].sort(([a], [b]) => a - b);
    this.namespaces.clear();
    for (const [nsid, each] of sorted) this.namespaces.set(nsid, each);
    namespace.volume.onResize = () => {
      this.changed(namespace.nsid);
    };
    this.changed(namespace.nsid);
  }

  /** Takes the namespace away from every host; its volume is the caller's to close (LIFE.6). */
  remove(nsid: number): Namespace | undefined {
    const namespace = this.namespaces.get(nsid);
    if (namespace === undefined) return undefined;
    this.namespaces.delete(nsid);
    namespace.volume.onResize = undefined;
    this.changed(nsid);
    return namespace;
  }

  /** Every controller tells its host that the namespace is new, gone or different. */
  changed(nsid: number): void {
    for (const controller of this.controllers.values()) controller.namespaceChanged(nsid);
  }
}
