/**
 * An attachment: what one controller sees of one namespace. The I/O path looks up there and nowhere else, and reads one
 * gate per command; whatever can change a gate calls `update`, so that an I/O costs the same with one namespace or
 * thousands, one host or hundreds.
 */
import { AnaState } from '../nvme/ana-log.ts';
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import type { Controller } from './controller.ts';
import type { Namespace, Owner } from './namespace.ts';

export class Attachment {
  readonly controller: Controller;
  readonly namespace: Namespace;
  /** With what every I/O command is refused; 0: it may go on. Path errors come without DNR. */
  refusal = 0;
  /** The same for commands that read, and for those that write; each takes in `refusal`. */
  readRefusal = 0;
  writeRefusal = 0;
  /** Flush, and hints: a reservation counts them among the writes, write protection does not. */
  flushRefusal = 0;
  #over = false;

  constructor(controller: Controller, namespace: Namespace) {
    this.controller = controller;
    this.namespace = namespace;
  }

  /** Its ANA state lets I/O and namespace-specific admin commands through (0), or says why not. */
  get anaRefusal(): number {
    const { controller, namespace } = this;
    return anaRefusal(controller.port.ana.state(namespace.anagrpid));
  }

  /** Computes the gates anew. */
  update(): void {
    if (this.#over) return;
    const { controller, namespace } = this;
    const reservation = namespace.reservations.gates(controller);
    this.refusal = namespace.usable ? this.anaRefusal : Status.InternalPathError;
    this.readRefusal = this.refusal || reservation.read;
    const protectedNow = namespace.writeProtected ? Status.NamespaceWriteProtected | DNR : 0;
    this.writeRefusal = this.refusal || protectedNow || reservation.write;
    this.flushRefusal = this.refusal || reservation.write;
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
    this.refusal = this.readRefusal = this.writeRefusal = this.flushRefusal = Status.InvalidNamespace | DNR;
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
