/**
 * A port: one listening address, the subsystems that are reached through it, the ANA states on it, and the connections
 * that came through it.
 */
import type { Address, IoError, Listener, Transport } from '../runtime/ports.ts';
import { AnaStates } from './ana.ts';
import { Connection } from './connection.ts';
import type { Referral } from './discovery.ts';
import type { Subsystem } from './subsystem.ts';
import type { Target } from './target.ts';

/** What is not given is as the limits of the target say. */
export interface PortOptions {
  /** A multiple of 16, at most 1 MiB. */
  readonly ioCapsuleData?: number | undefined;
  /** At most as many as the limits allow. */
  readonly queueEntries?: number | undefined;
}

export class Port {
  readonly target: Target;
  /** Port Identifier (PORTID) of discovery entries. */
  readonly id: number;
  /** As it was asked for; with the real TCP port once it listens. */
  address: Address;
  /** Which subsystems it offers; undefined: every one that there is. Changed by `Target`'s listener methods. */
  subsystems: Set<Subsystem> | undefined = undefined;
  readonly ana = new AnaStates();
  /** Other discovery services, shown to hosts that ask through this port. Changed by `Target.setReferrals`. */
  referrals: readonly Referral[] = [];
  readonly connections = new Set<Connection>();
  /** In-capsule data of an I/O command, and entries of an I/O queue, for those who come through it. */
  readonly ioCapsuleData: number;
  readonly queueEntries: number;
  /** Bound, but not the target's yet: nobody is let in. */
  open = false;
  #listener: Listener | undefined = undefined;

  constructor(target: Target, id: number, address: Address, options: PortOptions = {}) {
    this.target = target;
    this.id = id;
    this.address = address;
    this.ioCapsuleData = options.ioCapsuleData ?? target.limits.ioCapsuleData;
    this.queueEntries = options.queueEntries ?? target.limits.queueEntries;
  }

  /** Whether hosts reach the subsystem through it; discovery they reach through every port. */
  offers(subsystem: Subsystem): boolean {
    if (subsystem.deleting) return false;
    return subsystem.discovery || this.subsystems === undefined || this.subsystems.has(subsystem);
  }

  listen(done: (error: IoError | undefined) => void): void {
    const accept = (transport: Transport): void => {
      this.#accept(transport);
    };
    this.target.env.net.listen(this.address, accept, (error, listener) => {
      if (listener !== undefined) {
        this.#listener = listener;
        this.address = listener.address;
      }
      done(error);
    });
  }

  #accept(transport: Transport): void {
    const { target } = this;
    if (!this.open || !target.ports.mayConnect()) {
      if (this.open)
        target.env.trace.event('warn', 'connection refused: there are too many', {
          from: transport.remote.host,
        });
      transport.start({ data: () => undefined, end: () => undefined, closed: () => undefined });
      transport.reset();
      return;
    }
    const connection = new Connection(this, transport, target.ports.nextConnectionId());
    transport.start(connection);
    this.connections.add(connection);
  }

  /** The connection has ended, and nothing of it executes any more. */
  forget(connection: Connection): void {
    this.connections.delete(connection);
    this.target.ports.connectionEnded(this);
  }

  /** No new connections; those that came through it go on. */
  close(done: () => void): void {
    if (this.#listener === undefined) done();
    else this.#listener.close(done);
    this.#listener = undefined;
  }
}
