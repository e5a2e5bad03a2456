/**
 * An attachment: what one controller sees of one namespace. The I/O path looks up there and nowhere else, and reads one
 * gate per command; whatever can change a gate calls `update`, so that an I/O costs the same with one namespace or
 * thousands, one host or hundreds. The ANA states of a port are behind hundreds of thousands of attachments: a change
 * of them is only counted, and a gate that is read looks at the count.
 */
import { AnaState } from '../nvme/ana-log.ts';
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import type { AnaStates } from './ana.ts';
import type { Controller } from './controller.ts';
import type { Namespace, Owner } from './namespace.ts';

export class Attachment {
  readonly controller: Controller;
  readonly namespace: Namespace;
  readonly #ana: AnaStates;
  /** Changes of ANA states that the gates know. */
  #seen = -1;
  #refusal = 0;
  #readRefusal = 0;
  #writeRefusal = 0;
  #flushRefusal = 0;
  #over = false;

  constructor(controller: Controller, namespace: Namespace) {
    this.controller = controller;
    this.namespace = namespace;
    this.#ana = controller.port.ana;
  }

  /** With what every I/O command is refused; 0: it may go on. Path errors come without DNR. */
  get refusal(): number {
    if (this.#seen !== this.#ana.changes) this.update();
    return this.#refusal;
  }

  /** The same for commands that read; takes in `refusal`. */
  get readRefusal(): number {
    if (this.#seen !== this.#ana.changes) this.update();
    return this.#readRefusal;
  }

  /** The same for commands that write. */
  get writeRefusal(): number {
    if (this.#seen !== this.#ana.changes) this.update();
    return this.#writeRefusal;
  }

  /** Flush, and hints: a reservation counts them among the writes, write protection does not. */
  get flushRefusal(): number {
    if (this.#seen !== this.#ana.changes) this.update();
    return this.#flushRefusal;
  }

  /** Its ANA state lets I/O and namespace-specific admin commands through (0), or says why not. */
  get anaRefusal(): number {
    const { anagrpid, subsystem } = this.namespace;
    const refusal = anaRefusal(this.#ana.state(anagrpid));
    // A host that was told of no ANA takes another path at any path error.
    return refusal === 0 || subsystem.ana ? refusal : Status.InternalPathError;
  }

  /** Computes the gates anew. */
  update(): void {
    this.#seen = this.#ana.changes;
    if (this.#over) return;
    const { controller, namespace } = this;
    const reservation = namespace.reservations.gates(controller);
    const refusal = namespace.usable ? this.anaRefusal : Status.InternalPathError;
    const protectedNow = namespace.writeProtected ? Status.NamespaceWriteProtected | DNR : 0;
    this.#refusal = refusal;
    this.#readRefusal = refusal || reservation.read;
    this.#writeRefusal = refusal || protectedNow || reservation.write;
    this.#flushRefusal = refusal || reservation.write;
  }

  /** For tests and the simulator: the gates are what `update` would compute. */
  invariants(): void {
    const { refusal, readRefusal, writeRefusal, flushRefusal } = this;
    this.update();
    assert(
      refusal === this.refusal &&
        readRefusal === this.readRefusal &&
        writeRefusal === this.writeRefusal &&
        flushRefusal === this.flushRefusal,
      `the gates of namespace ${this.namespace.nsid} for controller ${this.controller.cntlid} are up to date`,
    );
  }

  /** Detached, or the namespace is gone: commands that have been taken and not started learn it from here (LIFE.6). */
  end(): void {
    this.#over = true;
    this.#refusal =
      this.#readRefusal =
      this.#writeRefusal =
      this.#flushRefusal =
        Status.InvalidNamespace | DNR;
  }
}

/** Base 2.1, section 8.1.1: what a state does to commands of the namespaces in it. Never with DNR: paths come back. */
export function anaRefusal(state: AnaState): number {
  switch (state) {
    case AnaState.Inaccessible:
      return Status.AnaInaccessible;
    case AnaState.PersistentLoss:
      return Status.AnaPersistentLoss;
    case AnaState.Change:
      return Status.AnaTransition;
    default:
      return 0;
  }
}

/** What is known when a controller and a namespace meet, as plain data. */
export interface Meeting {
  readonly hostnqn: string;
  readonly hostid: string;
  /** Somebody detached it from this controller. */
  readonly detached: boolean;
  /** The controller has as many as it may. */
  readonly full: boolean;
  readonly shared: boolean;
  /** Hosts that may see it; undefined: all. */
  readonly hosts: ReadonlySet<string> | undefined;
  readonly owner: Owner | undefined;
  /** Another controller has it now. */
  readonly taken: boolean;
}

export type Verdict = 'attach' | 'masked' | 'detached' | 'another host’s' | 'taken' | 'full';

/** Whether a controller gets a namespace by itself: when it is enabled, or when the namespace appears (LIFE.3, LIFE.4). */
export function meet(meeting: Meeting): Verdict {
  const { hosts, owner, hostnqn, hostid } = meeting;
  if (hosts !== undefined && !hosts.has(hostnqn)) return 'masked';
  if (meeting.detached) return 'detached';
  if (!meeting.shared) {
    if (owner !== undefined && (owner.hostnqn !== hostnqn || owner.hostid !== hostid))
      return 'another host’s';
    if (meeting.taken) return 'taken';
  }
  return meeting.full ? 'full' : 'attach';
}
