/**
 * All transport ports of a host (PORT.1 to PORT.11). They come and go apart from the controllers that use them: a
 * controller whose port goes is suspended until a port of the same name comes back, or its time is up. A local port that
 * is named by an address or an interface goes and comes with that, too.
 *
 * A port that is connected through before anybody registered it is made on the way, and goes with its last controller.
 * One that was unregistered is away until it is registered again: a new object then, a generation later.
 */
import { assert } from '../runtime/assert.ts';
import type { Address, Net } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import { ANY_LOCAL, isHere, localName } from './interfaces.ts';
import { LocalPort, RemotePort, remoteKey } from './port.ts';
import type { Registry } from './registry.ts';

/** Where a port is; without an address: a local port as a whole. */
export interface PortPlace {
  readonly local: string;
  readonly address?: Address | undefined;
}

export class Ports {
  readonly #registry: Registry;
  /** Those that are online. */
  readonly locals = new Map<string, LocalPort>();
  /** Every one that is not gone, those that are on their way out included. */
  readonly #all = new Set<RemotePort>();
  readonly #leavingLocals = new Set<LocalPort>();
  /** Those that were unregistered and are not back, by their keys: nobody connects through them. */
  readonly #away = new Map<string, PortPlace>();
  /** Local ports whose address or interface is not there; true: somebody had registered them. */
  readonly #missing = new Map<string, boolean>();
  #unwatch: (() => void) | undefined = undefined;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Every remote port, those that are on their way out included. */
  get remotes(): readonly RemotePort[] {
    return [...this.#all];
  }

  // ---- for controllers

  /** The port for this controller; undefined: it is not there now (PORT.4). */
  resolve(controller: Controller): RemotePort | undefined {
    const name = localName(controller.options);
    const { address } = controller.options;
    const key = remoteKey(name, address);
    this.#watch(name);
    if (this.#away.has(name) || this.#away.has(key)) return undefined;
    if (this.#missing.has(name)) return undefined;
    const local = this.locals.get(name) ?? this.#local(name, this.#registry.env.net, false);
    const remote = local.remotes.get(key) ?? this.#remote(local, address, false);
    remote.controllers.add(controller);
    return remote;
  }

  /** Why there is none. */
  absence(controller: Controller): string {
    const name = localName(controller.options);
    if (this.#missing.has(name)) return `no interface that is up has its local port, ${name}`;
    return 'its transport port is not registered';
  }

  /** The controller is dead; ports that were made for it go with the last one. */
  forget(controller: Controller): void {
    for (const remote of this.#all) if (remote.controllers.delete(controller)) this.#settle(remote);
    if (this.#registry.controllers.size > 0) return;
    this.#unwatch?.();
    this.#unwatch = undefined;
    for (const [name, registered] of this.#missing) if (!registered) this.#missing.delete(name);
  }

  // ---- interfaces

  /** From now on this local port goes and comes with its address or interface. */
  #watch(name: string): void {
    const { interfaces, net } = this.#registry.env;
    const known = this.locals.get(name);
    if (name === ANY_LOCAL || this.#missing.has(name) || (known !== undefined && known.net !== net)) return;
    if (this.#unwatch === undefined) {
      this.#unwatch = interfaces.watch(() => this.#look());
      this.#look();
    }
    if (this.locals.has(name) || this.#missing.has(name)) return;
    if (!isHere(name, interfaces.list())) this.#missing.set(name, false);
  }

  /** The addresses of this machine are others than before. */
  #look(): void {
    const { env } = this.#registry;
    const all = env.interfaces.list();
    for (const [name, registered] of [...this.#missing]) {
      if (!isHere(name, all)) continue;
      this.#missing.delete(name);
      if (registered) this.addLocal(name);
      const { journal } = this.#registry;
      if (!registered)
        journal.record(
          'port added',
          name,
          this.#registry.nextId(),
          'its address or interface is there again',
        );
      this.#back(({ options }) => localName(options) === name);
    }
    for (const [name, local] of [...this.locals]) {
      // Sockets of another kind have nothing to do with interfaces.
      if (local.net !== env.net || isHere(name, all)) continue;
      this.#missing.set(name, local.registered);
      this.#unregister(local, 'went with its address or interface', () => undefined);
    }
  }

  // ---- for who owns the ports

  /**
   * A local port comes, with sockets of its own if it has any. Controllers that were suspended reconnect at once
   * (PORT.7). One that is there already stays as it is.
   */
  addLocal(name: string, net: Net = this.#registry.env.net): LocalPort {
    this.#away.delete(name);
    this.#missing.delete(name);
    const known = this.locals.get(name);
    if (known !== undefined) {
      known.registered = true;
      return known;
    }
    const local = this.#local(name, net, true);
    this.#back(({ options }) => localName(options) === name);
    return local;
  }

  /** A remote port comes. Its local port is there, or comes along. */
  addRemote(from: string, address: Address): RemotePort {
    const key = remoteKey(from, address);
    this.#away.delete(key);
    const local = this.addLocal(from);
    const known = local.remotes.get(key);
    if (known !== undefined) {
      known.registered = true;
      return known;
    }
    const remote = this.#remote(local, address, true);
    this.#back(({ options }) => remoteKey(localName(options), options.address) === key);
    return remote;
  }

  /**
   * The port goes: associations through it end, attempts are given up. `done` is called when none is left, whatever
   * volumes are open (PORT.2). Two calls for one port wait for the same.
   */
  removeRemote(remote: RemotePort, done: () => void): void {
    const { local, address, state } = remote;
    // Of one that has gone already this was said; what was registered since is of another generation (PORT.10).
    if (state === 'online') this.setAway({ local: local.name, address });
    this.#leave(remote, 'was unregistered', done);
  }

  removeLocal(local: LocalPort, done: () => void): void {
    if (local.state === 'online') this.setAway({ local: local.name });
    this.#unregister(local, 'was unregistered', done);
  }

  /** Nobody connects through it before it is added (again). */
  setAway(place: PortPlace): void {
    const { local, address } = place;
    this.#away.set(address === undefined ? local : remoteKey(local, address), place);
  }

  /** Those that were removed and are not back. */
  get away(): readonly PortPlace[] {
    return [...this.#away.values()];
  }

  #unregister(local: LocalPort, why: string, done: () => void): void {
    if (local.state === 'gone') {
      done();
      return;
    }
    local.leaving.wait(done);
    if (local.state === 'unregistering') return;
    local.leaving.state = 'unregistering';
    this.locals.delete(local.name);
    this.#leavingLocals.add(local);
    this.#registry.journal.record('port removed', local.label, local.id, why);
    for (const remote of [...local.remotes.values()]) this.#leave(remote, why, () => undefined);
    this.#settleLocal(local);
  }

  #leave(remote: RemotePort, why: string, done: () => void): void {
    if (remote.state === 'gone') {
      done();
      return;
    }
    remote.leaving.wait(done);
    if (remote.state === 'unregistering') return;
    remote.leaving.state = 'unregistering';
    remote.local.remotes.delete(remoteKey(remote.local.name, remote.address));
    this.#registry.journal.record('port removed', remote.name, remote.id, why);
    for (const controller of [...remote.controllers]) controller.portGone(remote, why);
    this.#settle(remote);
  }

  #back(goes: (controller: Controller) => boolean): void {
    for (const controller of [...this.#registry.controllers]) if (goes(controller)) controller.portBack();
  }

  // ---- counting

  /** The controller's association through this port is over. */
  associationOver(remote: RemotePort, controller: Controller): void {
    remote.leave(controller);
    this.#settle(remote);
  }

  /** A port on its way out is gone when nothing is active; one that was made on the way, when nobody uses it. */
  #settle(remote: RemotePort): void {
    if (remote.state === 'online') {
      if (remote.registered || remote.controllers.size > 0 || remote.active.size > 0) return;
      remote.local.remotes.delete(remoteKey(remote.local.name, remote.address));
    } else if (remote.state === 'gone' || remote.active.size > 0) return;
    this.#all.delete(remote);
    remote.leaving.gone();
    this.#settleLocal(remote.local);
  }

  #settleLocal(local: LocalPort): void {
    if (local.state === 'online') {
      if (local.registered || local.remotes.size > 0 || local.activeRemotePorts > 0) return;
      this.locals.delete(local.name);
    } else if (local.state === 'gone' || local.activeRemotePorts > 0) return;
    this.#leavingLocals.delete(local);
    local.leaving.gone();
  }

  #local(name: string, net: Net, registered: boolean): LocalPort {
    const local = new LocalPort(name, this.#registry.nextId(), net, registered);
    this.locals.set(name, local);
    if (registered) this.#registry.journal.record('port added', local.label, local.id, 'registered');
    return local;
  }

  #remote(local: LocalPort, address: Address, registered: boolean): RemotePort {
    const remote = new RemotePort(local, address, this.#registry.nextId(), registered);
    local.remotes.set(remoteKey(local.name, address), remote);
    this.#all.add(remote);
    if (registered) this.#registry.journal.record('port added', remote.name, remote.id, 'registered');
    return remote;
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    const active = new Map<LocalPort, number>();
    for (const remote of this.#all) {
      assert(remote.state !== 'gone', `${remote.name}: gone, but listed`);
      if (remote.active.size > 0) active.set(remote.local, (active.get(remote.local) ?? 0) + 1);
    }
    for (const local of [...this.locals.values(), ...this.#leavingLocals])
      assert(
        local.activeRemotePorts === (active.get(local) ?? 0),
        `${local.label}: ${local.activeRemotePorts} active remote ports are counted`,
      );
  }
}
