/**
 * The target: subsystems with their namespaces, ports with their connections, and the memory that all of them share.
 */
import { DISCOVERY_NQN, nqnProblem } from '../nvme/nqn.ts';
import type { Address, Env, FileIo, IoError, Timer } from '../runtime/ports.ts';
import { Operation } from '../storage/operation.ts';
import { Slabs } from '../storage/slabs.ts';
import { Volume } from '../storage/volume.ts';
import { Budget } from './budget.ts';
import { DEFAULT_LIMITS, limitsProblem, type Limits } from './limits.ts';
import { Namespace, type NamespaceIdentity } from './namespace.ts';
import { Port } from './port.ts';
import { Subsystem, type SubsystemIdentity } from './subsystem.ts';

/** How often stalled connections are looked for. */
const STALL_CHECK = 5000;

export interface NamespaceOptions extends NamespaceIdentity {
  readonly blockSize: number;
  readonly readOnly: boolean;
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
  /** By NQN. */
  readonly subsystems = new Map<string, Subsystem>();
  readonly discovery: Subsystem;
  readonly ports: Port[] = [];
  /** Generation Counter of the discovery log: moves with every change of what it shows. */
  genctr = 1;
  #connectionId = 0;
  #portId = 0;
  #stopping: (() => void) | undefined = undefined;
  #stopped = false;
  #stallCheck: Timer | undefined = undefined;

  constructor(env: Env, limits: Partial<Limits> = {}) {
    this.env = env;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    const problem = limitsProblem(this.limits);
    if (problem !== undefined) throw new RangeError(problem);
    this.capsuleBudget = new Budget(this.limits.capsuleBudget);
    this.writeBudget = new Budget(this.limits.writeBudget);
    this.slabs = new Slabs({ budget: this.limits.readBudget });
    this.discovery = new Subsystem(
      this,
      { nqn: DISCOVERY_NQN, serial: 'nvme-tcp', model: 'nvme-tcp discovery' },
      true,
    );
    this.#watchStalls();
  }

  /** The subsystem that answers to `nqn`. */
  find(nqn: string): Subsystem | undefined {
    return nqn === DISCOVERY_NQN ? this.discovery : this.subsystems.get(nqn);
  }

  /** Throws RangeError when the NQN is not one or is taken. */
  addSubsystem(identity: SubsystemIdentity): Subsystem {
    const problem =
      nqnProblem(identity.nqn) ?? (this.find(identity.nqn) ? 'there is such a subsystem already' : undefined);
    if (problem !== undefined) throw new RangeError(`${identity.nqn}: ${problem}`);
    const subsystem = new Subsystem(this, identity);
    this.subsystems.set(identity.nqn, subsystem);
    this.discoveryChanged();
    return subsystem;
  }

  /** Exports an open file as a namespace; the file is the target's from here on. */
  addNamespace(subsystem: Subsystem, file: FileIo, options: NamespaceOptions): Namespace {
    const { blockSize, readOnly } = options;
    const volume = new Volume(this.env, file, { blockSize, readOnly, slabs: this.slabs });
    volume.onFailed = (error) => {
      this.env.trace.event('error', 'flush failed: the namespace is read-only from here on', {
        subsystem: subsystem.nqn,
        nsid: options.nsid,
        path: volume.path,
        error: error.message,
      });
      subsystem.changed(options.nsid);
    };
    const namespace = new Namespace(options, volume);
    subsystem.add(namespace);
    return namespace;
  }

  listen(address: Address, done: (error: IoError | undefined, port?: Port) => void): void {
    const port = new Port(this, ++this.#portId, address);
    port.listen((error) => {
      if (error !== undefined) {
        done(error);
        return;
      }
      this.ports.push(port);
      this.discoveryChanged();
      done(undefined, port);
    });
  }

  discoveryChanged(): void {
    this.genctr++;
    for (const controller of this.discovery.controllers.values()) controller.discoveryChanged();
  }

  nextConnectionId(): number {
    return ++this.#connectionId;
  }

  /** Whether there is room for one more connection. */
  mayConnect(): boolean {
    let all = 0;
    let unconnected = 0;
    for (const { connections } of this.ports)
      for (const { queue } of connections) {
        all++;
        if (queue.controller === undefined) unconnected++;
      }
    return (
      all < this.limits.connections &&
      unconnected < this.limits.newConnections &&
      this.#stopping === undefined
    );
  }

  #watchStalls(): void {
    this.#stallCheck = this.env.clock.timer('looks for stalled connections', STALL_CHECK, () => {
      const now = this.env.clock.now();
      for (const port of this.ports) for (const connection of port.connections) connection.checkStalls(now);
      this.#watchStalls();
    });
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
    for (const port of this.ports) {
      port.close(() => undefined);
      for (const connection of port.connections) connection.close('target stops');
    }
    this.connectionEnded();
  }

  /** Does not wait for hosts any more; called when `stop` takes too long. */
  force(): void {
    for (const port of this.ports) for (const connection of port.connections) connection.transport.reset();
  }

  connectionEnded(): void {
    if (this.#stopping === undefined || this.#stopped) return;
    if (this.ports.some((port) => port.connections.size > 0)) return;
    this.#stopped = true;
    this.#stallCheck?.cancel();
    const told = this.#stopping;
    let left = 1;
    const closed = (): void => {
      if (--left === 0) told();
    };
    for (const subsystem of this.subsystems.values())
      for (const { volume } of subsystem.namespaces.values()) {
        left++;
        flushThenClose(volume, closed);
      }
    closed();
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    for (const port of this.ports) for (const { queue } of port.connections) queue.invariants();
    for (const subsystem of this.subsystems.values())
      for (const { volume } of subsystem.namespaces.values()) volume.invariants();
  }
}

/** A volume that cannot be flushed is closed all the same: what was not acknowledged as flushed was never promised. */
function flushThenClose(volume: Volume, done: () => void): void {
  const close = (): void => {
    volume.close(done);
  };
  if (volume.readOnly) {
    close();
    return;
  }
  const flush = new Operation({ operationDone: close });
  flush.kind = 'flush';
  volume.submit(flush);
}
