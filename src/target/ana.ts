/**
 * Asymmetric Namespace Access (NVMe Base 2.1, section 8.1.1): the state of each group on one port, and the log that a
 * controller shows. Groups are the namespaces' (`anagrpid`), states are the port's.
 */
import { type AnaGroup, AnaState, anaLogSize, encodeAnaLog } from '../nvme/ana-log.ts';
import { assert } from '../runtime/assert.ts';
import type { Controller } from './controller.ts';

export class AnaStates {
  readonly #groups = new Map<number, { state: AnaState; changes: number }>();
  /** Changes of all groups together. */
  changes = 0;

  /** Optimized until told otherwise. */
  state(anagrpid: number): AnaState {
    return this.#groups.get(anagrpid)?.state ?? AnaState.Optimized;
  }

  changesOf(anagrpid: number): number {
    return this.#groups.get(anagrpid)?.changes ?? 0;
  }

  /** True: that is another state than before. */
  set(anagrpid: number, state: AnaState): boolean {
    if (this.state(anagrpid) === state) return false;
    this.#groups.set(anagrpid, { state, changes: this.changesOf(anagrpid) + 1 });
    this.changes++;
    return true;
  }

  /** The groups that were ever told a state, in ascending order. */
  told(): (readonly [anagrpid: number, state: AnaState])[] {
    return [...this.#groups]
      .map(([anagrpid, { state }]) => [anagrpid, state] as const)
      .sort(([a], [b]) => a - b);
  }
}

/** How often namespaces came into, or went from, each group of a subsystem; part of every change count. */
export class GroupChanges {
  readonly #groups = new Map<number, number>();
  all = 0;

  of(anagrpid: number): number {
    return this.#groups.get(anagrpid) ?? 0;
  }

  add(anagrpid: number): void {
    this.#groups.set(anagrpid, this.of(anagrpid) + 1);
    this.all++;
  }
}

/** How many namespaces of each group a controller has: whom a change of a group concerns, without looking at each. */
export class GroupMembers {
  readonly #groups = new Map<number, number>();

  has(anagrpid: number): boolean {
    return this.#groups.has(anagrpid);
  }

  add(anagrpid: number): void {
    this.#groups.set(anagrpid, (this.#groups.get(anagrpid) ?? 0) + 1);
  }

  delete(anagrpid: number): void {
    const left = (this.#groups.get(anagrpid) ?? 0) - 1;
    if (left > 0) this.#groups.set(anagrpid, left);
    else this.#groups.delete(anagrpid);
  }

  clear(): void {
    this.#groups.clear();
  }

  /** For tests and the simulator: they are the groups of these namespaces. */
  invariants(anagrpids: Iterable<number>): void {
    const counted = new GroupMembers();
    for (const anagrpid of anagrpids) counted.add(anagrpid);
    for (const [anagrpid, count] of [...counted.#groups, ...this.#groups])
      assert(
        this.#groups.get(anagrpid) === count && counted.#groups.get(anagrpid) === count,
        `ANA group ${anagrpid} has as many namespaces as are counted`,
      );
  }
}

/**
 * The log as `controller` sees it: its port's states, the namespaces that are attached to it. It is as long as it may
 * become: nvme-cli 2.3 reads that much, in pieces, whatever is in it.
 */
export function anaLog(controller: Controller, groupsOnly: boolean): Uint8Array {
  const { port, subsystem, attachments } = controller;
  const { limits } = subsystem.target;
  const members = new Map<number, number[]>();
  for (const [anagrpid] of port.ana.told()) members.set(anagrpid, []);
  for (const { namespace } of attachments.values()) {
    const nsids = members.get(namespace.anagrpid);
    if (nsids === undefined) members.set(namespace.anagrpid, [namespace.nsid]);
    else nsids.push(namespace.nsid);
  }
  const groups = [...members]
    .sort(([a], [b]) => a - b)
    .map(([agid, nsids]): AnaGroup => ({
      agid,
      chgcnt: port.ana.changesOf(agid) + subsystem.groupChanges.of(agid),
      state: port.ana.state(agid),
      nsids: nsids.sort((a, b) => a - b),
    }));
  const made = new Uint8Array(anaLogSize(limits.anaGroups, limits.namespaces));
  made.set(encodeAnaLog({ chgcnt: port.ana.changes + subsystem.groupChanges.all, groups }, groupsOnly));
  return made;
}
