/**
 * The ports of a target, and who came through them: they come and go while everything else stays (LIFE.13).
 */
import type { AnaState } from '../nvme/ana-log.ts';
import type { Address, IoError, Timer } from '../runtime/ports.ts';
import type { Connection } from './connection.ts';
import { type Referral, referralsProblem } from './discovery.ts';
import { Port, type PortOptions } from './port.ts';
import type { Subsystem } from './subsystem.ts';
import type { Target } from './target.ts';

/** How often stalled connections are looked for. */
const STALL_CHECK = 5000;

export interface ListenOptions extends PortOptions {
  /** PORTID; the lowest free one if not given. */
  readonly id?: number | undefined;
  /** Subsystems that it offers; every one, also those to come, if not given. */
  readonly subsystems?: Iterable<Subsystem> | undefined;
}

export class Ports {
  readonly #target: Target;
  /** That listen, in the order in which they began to. */
  readonly list: Port[] = [];
  /** Removed ports whose connections have not all ended. */
  readonly #leaving = new Set<Port>();
  /** PORTIDs of the ports that listen, and of those that are about to. */
  readonly #ids = new Set<number>();
  #connectionId = 0;
  #stopping = false;
  #stallCheck: Timer | undefined = undefined;

  constructor(target: Target) {
    this.#target = target;
    this.#watchStalls();
  }

  // ---- ports

  listen(
    address: Address,
    done: (error: IoError | undefined, port?: Port) => void,
    options: ListenOptions = {},
  ): void {
    const refused = (code: string, message: string): void => done({ code, message });
    const id = options.id ?? this.#freeId();
    if (this.list.length >= this.#target.limits.ports) {
      refused('ENOSPC', `there are ${this.list.length} ports already`);
      return;
    }
    if (!Number.isInteger(id) || id < 0 || id > 0xffff || this.#ids.has(id)) {
      refused('EINVAL', `port ${id}: a PORTID that is free, from 0 to 65535, is needed`);
      return;
    }
    this.#ids.add(id);
    const bound = (error: IoError | undefined, port?: Port): void => {
      this.#ids.delete(id);
      if (port === undefined) {
        done(error);
        return;
      }
      this.add(port, options.subsystems);
      done(undefined, port);
    };
    this.bind(address, id, bound, options);
  }

  /** A port that is bound and nothing more: nobody is let in and nothing shows it before `add`; or `close` it. */
  bind(
    address: Address,
    id: number,
    done: (error: IoError | undefined, port?: Port) => void,
    options: PortOptions = {},
  ): void {
    const port = new Port(this.#target, id, address, options);
    port.listen((error) => {
      if (error === undefined) done(undefined, port);
      else done(error);
    });
  }

  /** Takes a bound port, whose PORTID is free. `subsystems`: every one, also those to come, if not given. */
  add(port: Port, subsystems: Iterable<Subsystem> | undefined): void {
    port.subsystems = subsystems && new Set(subsystems);
    port.open = true;
    this.#ids.add(port.id);
    this.list.push(port);
    this.#target.discoveryChanged();
  }

  #freeId(): number {
    let id = 1;
    while (this.#ids.has(id)) id++;
    return id;
  }

  /**
   * Stops listening and ends the controllers that came through the port, no others; namespaces stay (LIFE.13). `done` is
   * called when nobody can connect any more; what executes is finished first, in its own time (GHOST.1).
   */
  remove(port: Port, done: () => void): void {
    const at = this.list.indexOf(port);
    if (at < 0) {
      port.close(done);
      return;
    }
    this.list.splice(at, 1);
    this.#ids.delete(port.id);
    if (port.connections.size > 0) this.#leaving.add(port);
    this.#target.discoveryChanged();
    port.close(done);
    this.#endThrough(port, undefined);
  }

  // ---- what they offer

  /** Offers the subsystem on the port. */
  addListener(subsystem: Subsystem, port: Port): void {
    if (port.offers(subsystem) || port.subsystems === undefined) return;
    port.subsystems.add(subsystem);
    this.#target.discoveryChanged((hostnqn) => subsystem.admits(hostnqn));
  }

  /** Offers it there no more; the controllers that came through that port end (LIFE.13). */
  removeListener(subsystem: Subsystem, port: Port): void {
    if (!port.offers(subsystem) || subsystem.discovery) return;
    port.subsystems ??= new Set(this.#target.subsystems.values());
    port.subsystems.delete(subsystem);
    this.#target.discoveryChanged((hostnqn) => subsystem.admits(hostnqn));
    this.#endThrough(port, subsystem);
  }

  /** Ends what came through the port, for one subsystem or for all. */
  #endThrough(port: Port, subsystem: Subsystem | undefined): void {
    for (const connection of [...port.connections]) {
      const { controller } = connection.queue;
      if (controller !== undefined && (subsystem ?? controller.subsystem) === controller.subsystem)
        controller.remove('listener removed');
      if (controller === undefined && subsystem === undefined) connection.close('listener removed');
    }
  }

  /**
   * Sets a group's state on one port; every host that has a namespace of the group through it is told. Gates look at
   * the state when they are read (attachment.ts), so this costs the same however many namespaces there are.
   */
  setAnaState(port: Port, anagrpid: number, state: AnaState): void {
    const { subsystems } = this.#target;
    this.#target.checkGroup(anagrpid);
    if (!port.ana.set(anagrpid, state)) return;
    for (const { controllers } of subsystems.values())
      for (const controller of controllers.values())
        if (controller.port === port && controller.groups.has(anagrpid)) controller.anaChanged();
  }

  /** Which other discovery services hosts are told of through this port. Throws RangeError, and changes nothing. */
  setReferrals(port: Port, referrals: readonly Referral[]): void {
    const problem = referralsProblem(this.#target, port, referrals);
    if (problem !== undefined) throw new RangeError(problem);
    port.referrals = [...referrals];
    if (port.open) this.#target.discoveryChanged((_, through) => through === port);
  }

  // ---- connections

  /** All of them, also those of ports that are gone. */
  *connections(): Generator<Connection> {
    for (const port of this.list) yield* port.connections;
    for (const port of this.#leaving) yield* port.connections;
  }

  nextConnectionId(): number {
    return ++this.#connectionId;
  }

  /** Whether there is room for one more connection. */
  mayConnect(): boolean {
    const { limits } = this.#target;
    let all = 0;
    let unconnected = 0;
    for (const { queue } of this.connections()) {
      all++;
      if (queue.controller === undefined) unconnected++;
    }
    return all < limits.connections && unconnected < limits.newConnections && !this.#stopping;
  }

  /** A connection that came through the port has ended. */
  connectionEnded(port: Port): void {
    if (port.connections.size === 0) this.#leaving.delete(port);
    this.#target.settle();
  }

  #watchStalls(): void {
    const { clock } = this.#target.env;
    this.#stallCheck = clock.timer('looks for stalled connections', STALL_CHECK, () => {
      const now = clock.now();
      const busy = new Set<Subsystem>();
      for (const connection of this.connections()) {
        connection.checkStalls(now);
        const { qid, outstanding, controller } = connection.queue;
        if (qid !== 0 && outstanding > 0 && controller !== undefined) busy.add(controller.subsystem);
      }
      for (const subsystem of busy) subsystem.busy += STALL_CHECK;
      this.#watchStalls();
    });
  }

  // ---- the end

  /** Nobody is let in any more; who is connected is sent away in order, and still watched. */
  stop(): void {
    this.#stopping = true;
    for (const port of this.list) port.close(() => undefined);
    for (const connection of [...this.connections()]) connection.close('target stops');
  }

  /** Nobody is connected any more, and nobody is watched. */
  stopped(): void {
    this.#stallCheck?.cancel();
  }
}
