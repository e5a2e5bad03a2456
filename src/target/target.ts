/**
 * The target: subsystems with their namespaces, the ports (ports.ts), and the memory that all of them share.
 */
import { DISCOVERY_NQN, nqnProblem } from '../nvme/nqn.ts';
import { hex } from '../layout/field.ts';
import type { Env, FileIo, IoDone } from '../runtime/ports.ts';
import { Slabs } from '../storage/slabs.ts';
import { Turn } from '../storage/turn.ts';
import { WritePolicy } from '../storage/write-policy.ts';
import { Volume } from '../storage/volume.ts';
import { Atomicity } from './atomicity.ts';
import { Budget } from './budget.ts';
import { FactsStore } from './facts.ts';
import { DEFAULT_LIMITS, limitsProblem, type Limits } from './limits.ts';
import { Namespace, type NamespaceSettings } from './namespace.ts';
import type { Port } from './port.ts';
import { Ports } from './ports.ts';
import { FIRST_CNTLID, LAST_CNTLID, Subsystem, type SubsystemOptions } from './subsystem.ts';

export interface NamespaceOptions extends NamespaceSettings {
  readonly blockSize: number;
  readonly readOnly: boolean;
}

export interface TargetOptions {
  /** The target's own name for its discovery subsystem, besides the well-known one. */
  readonly discoveryNqn?: string | undefined;
}

export class Target {
  readonly env: Env;
  readonly limits: Limits;
  /** In-capsule space of I/O queues. */
  readonly capsuleBudget: Budget;
  /** Granted write data. */
  readonly writeBudget: Budget;
  /** Buffers of reads. */
  readonly slabs: Slabs;
  /** Which writes are done at once. */
  readonly writes: WritePolicy;
  /** What a connection's chunk causes. */
  readonly turn = new Turn();
  readonly facts: FactsStore;
  /** By NQN. */
  readonly subsystems = new Map<string, Subsystem>();
  readonly atomicity: Atomicity;
  /** `Clock.now()` of its beginning. */
  readonly startedAt: number;
  readonly discovery: Subsystem;
  readonly ports: Ports;
  /** Generation Counter of the discovery log: moves with every change of what it shows. */
  genctr = 1;
  /** Subsystems that are deleted, and whose files are not all closed. */
  readonly #deletions = new Map<Subsystem, (() => void)[]>();
  #stopping: (() => void) | undefined = undefined;
  #stopped = false;

  /** Throws RangeError when the limits cannot be kept or the discovery NQN is not one. */
  constructor(env: Env, limits: Partial<Limits> = {}, options: TargetOptions = {}) {
    this.env = env;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    const problem = limitsProblem(this.limits);
    if (problem !== undefined) throw new RangeError(problem);
    this.startedAt = env.clock.now();
    this.atomicity = new Atomicity(this.limits);
    this.capsuleBudget = new Budget(this.limits.capsuleBudget);
    this.writeBudget = new Budget(this.limits.writeBudget);
    this.slabs = new Slabs({ budget: this.limits.readBudget });
    this.writes = new WritePolicy(() => env.files.dirty?.());
    this.facts = new FactsStore(env.store);
    const nqn = options.discoveryNqn ?? DISCOVERY_NQN;
    const nqnWrong = nqnProblem(nqn);
    if (nqnWrong !== undefined) throw new RangeError(`the discovery NQN ${nqnWrong}`);
    this.discovery = new Subsystem(this, { nqn, serial: 'nvme-tcp', model: 'nvme-tcp discovery' }, true);
    this.ports = new Ports(this);
  }

  // ---- subsystems

  /** The subsystem that answers to `nqn`. */
  find(nqn: string): Subsystem | undefined {
    return nqn === DISCOVERY_NQN || nqn === this.discovery.nqn ? this.discovery : this.subsystems.get(nqn);
  }

  /** Throws RangeError when the NQN is not one or is taken, and when there is no room. */
  addSubsystem(options: SubsystemOptions): Subsystem {
    const { first, last } = options.cntlids ?? { first: FIRST_CNTLID, last: LAST_CNTLID };
    const problem =
      nqnProblem(options.nqn) ??
      (this.find(options.nqn) ? 'there is such a subsystem already' : undefined) ??
      (this.subsystems.size >= this.limits.subsystems
        ? `there are ${this.subsystems.size} subsystems already`
        : undefined) ??
      (FIRST_CNTLID <= first && first <= last && last <= LAST_CNTLID
        ? undefined
        : `CNTLIDs from ${first} to ${last}: they go from ${FIRST_CNTLID} to ${LAST_CNTLID}`);
    if (problem !== undefined) throw new RangeError(`${options.nqn}: ${problem}`);
    const subsystem = new Subsystem(this, options);
    this.subsystems.set(options.nqn, subsystem);
    this.discoveryChanged((hostnqn) => subsystem.admits(hostnqn));
    return subsystem;
  }

  /**
   * Deletes a subsystem: its controllers, then its namespaces, then itself (LIFE.9). Gives the reason when it is refused
   * because there are controllers and `force` is not set; otherwise its name is free at once, and `done` is called when
   * all its files are closed. A second call joins the first.
   */
  removeSubsystem(subsystem: Subsystem, force: boolean, done: () => void): string | undefined {
    const before = this.#deletions.get(subsystem);
    if (before !== undefined) {
      before.push(done);
      return undefined;
    }
    if (this.subsystems.get(subsystem.nqn) !== subsystem) {
      done();
      return undefined;
    }
    if (subsystem.controllers.size > 0 && !force)
      return `${subsystem.nqn} has ${subsystem.controllers.size} controllers; force disconnects them`;
    const told = [done];
    this.#deletions.set(subsystem, told);
    subsystem.deleting = true;
    this.subsystems.delete(subsystem.nqn);
    for (const port of this.ports.list) port.subsystems?.delete(subsystem);
    this.discoveryChanged((hostnqn) => subsystem.admits(hostnqn));
    for (const controller of [...subsystem.controllers.values()]) controller.remove('subsystem deleted');
    let left = 1;
    const closed = (): void => {
      if (--left > 0) return;
      this.#deletions.delete(subsystem);
      for (const each of told) each();
    };
    for (const nsid of [...subsystem.namespaces.keys()]) {
      left++;
      subsystem.remove(nsid)?.close(closed);
    }
    closed();
    return undefined;
  }

  // ---- namespaces

  /**
   * Exports an open file as a namespace; the file is the target's from here on. Throws RangeError, and takes nothing,
   * when the options cannot be kept.
   */
  addNamespace(subsystem: Subsystem, file: FileIo, options: NamespaceOptions): Namespace {
    this.#checkNamespace(subsystem, options);
    const namespace = new Namespace(subsystem, options, this.#volume(file, options));
    subsystem.add(namespace);
    return namespace;
  }

  /** Gives a disabled namespace its file again. Throws RangeError when it is not disabled, or the file's blocks differ. */
  enableNamespace(namespace: Namespace, file: FileIo, readOnly: boolean): void {
    namespace.enable(this.#volume(file, { blockSize: namespace.blockSize, readOnly }));
  }

  /** Takes the namespace from its hosts; `done` is called when the file is closed, after its last operation (LIFE.6). */
  removeNamespace(namespace: Namespace, done: IoDone): void {
    const { subsystem, nsid } = namespace;
    if (subsystem.namespaces.get(nsid) === namespace) subsystem.remove(nsid);
    namespace.close(done);
  }

  #volume(file: FileIo, { blockSize, readOnly }: { blockSize: number; readOnly: boolean }): Volume {
    const { lendAtOnce, lendBudget, lendTimeout } = this.limits;
    const lending = lendAtOnce > 0 ? { most: lendBudget, wait: lendTimeout } : undefined;
    const { slabs, turn, writes } = this;
    return new Volume(this.env, file, { blockSize, readOnly, slabs, turn, writes, lending });
  }

  #checkNamespace(subsystem: Subsystem, options: NamespaceOptions): void {
    const { nsid, uuid, anagrpid = 1 } = options;
    const fail = (what: string): never => {
      throw new RangeError(`namespace ${nsid} of ${subsystem.nqn}: ${what}`);
    };
    if (!Number.isInteger(nsid) || nsid < 1 || nsid > this.limits.namespaces)
      fail(`NSIDs go from 1 to ${this.limits.namespaces}`);
    if (subsystem.namespaces.has(nsid)) fail('it exists');
    this.checkGroup(anagrpid);
    const bytes = (value: Uint8Array | undefined): string | undefined => value && hex(value);
    const nguid = bytes(options.nguid);
    const eui64 = bytes(options.eui64);
    for (const { namespaces } of this.subsystems.values())
      for (const other of namespaces.values())
        if (other.uuid === uuid)
          fail(`the UUID ${uuid} is namespace ${other.nsid}’s of ${other.subsystem.nqn}`);
        else if (nguid !== undefined && nguid === hex(other.nguid))
          fail(`the NGUID ${nguid} is namespace ${other.nsid}’s of ${other.subsystem.nqn}`);
        else if (eui64 !== undefined && eui64 === bytes(other.eui64))
          fail(`the EUI-64 ${eui64} is namespace ${other.nsid}’s of ${other.subsystem.nqn}`);
  }

  /** Throws RangeError when there is no such ANA group. */
  checkGroup(anagrpid: number): void {
    if (!Number.isInteger(anagrpid) || anagrpid < 1 || anagrpid > this.limits.anaGroups)
      throw new RangeError(`ANA group ${anagrpid}: groups go from 1 to ${this.limits.anaGroups}`);
  }

  // ---- discovery

  /** The discovery log changed, for those hosts; they are told. */
  discoveryChanged(affects: (hostnqn: string, through: Port) => boolean = () => true): void {
    this.genctr++;
    for (const controller of this.discovery.controllers.values())
      if (affects(controller.hostnqn, controller.port)) controller.discoveryChanged();
  }

  // ---- the end

  /**
   * Stops in order: no new connections, what is under way is finished and answered, every file is synced and closed.
   * Calling it again while it runs changes nothing but who is told.
   */
  stop(done: () => void): void {
    if (this.#stopped) {
      done();
      return;
    }
    const before = this.#stopping;
    this.#stopping = () => {
      before?.();
      done();
    };
    if (before !== undefined) return;
    this.ports.stop();
    this.settle();
  }

  /** Does not wait for hosts any more; called when `stop` takes too long. */
  force(): void {
    for (const connection of [...this.ports.connections()]) connection.transport.reset();
  }

  /** Stopping, and nobody is connected any more: closes the files. */
  settle(): void {
    if (this.#stopping === undefined || this.#stopped || !this.ports.connections().next().done) return;
    this.#stopped = true;
    this.ports.stopped();
    const told = this.#stopping;
    let left = 1;
    const closed = (): void => {
      if (--left === 0) told();
    };
    for (const { namespaces } of this.subsystems.values())
      for (const namespace of namespaces.values()) {
        left++;
        namespace.close(closed, true);
      }
    for (const waiting of this.#deletions.values()) {
      left++;
      waiting.push(closed);
    }
    closed();
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    this.writeBudget.invariants();
    for (const { queue } of this.ports.connections()) queue.invariants();
    for (const { namespaces, controllers } of this.subsystems.values()) {
      for (const namespace of namespaces.values()) namespace.invariants();
      for (const { attachments, groups } of controllers.values()) {
        groups.invariants([...attachments.values()].map((attachment) => attachment.namespace.anagrpid));
        for (const attachment of attachments.values()) attachment.invariants();
      }
    }
  }
}
