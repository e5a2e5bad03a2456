/**
 * A transport port: a local port is an address of this host and the sockets that come with it, a remote port is where a
 * controller listens, seen through a local port. Both count what is active through them (PORT.1).
 */
import { assert } from '../runtime/assert.ts';
import type { Address, Net } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import { ANY_LOCAL } from './interfaces.ts';

/** `unregistering` lasts until the count of what is active is 0. */
export type PortState = 'online' | 'unregistering' | 'gone';

export const remoteKey = (local: string, { host, port }: Address): string => `${local} ${host} ${port}`;

/** What both kinds have: a state, and somebody who waits for the end. */
class Leaving {
  readonly #done: (() => void)[] = [];
  state: PortState = 'online';

  wait(done: () => void): void {
    this.#done.push(done);
  }

  gone(): void {
    this.state = 'gone';
    for (const done of this.#done.splice(0)) done();
  }
}

export class RemotePort {
  readonly local: LocalPort;
  readonly address: Address;
  /** Never used again (NUM.11). */
  readonly id: number;
  /** Somebody registered it; else it goes with its last controller. */
  registered: boolean;
  /** Controllers that connect through it, live or not. */
  readonly controllers = new Set<Controller>();
  /** Associations, being created or alive: at most one for each controller (PORT.1). */
  readonly active = new Set<Controller>();
  readonly leaving = new Leaving();

  constructor(local: LocalPort, address: Address, id: number, registered: boolean) {
    this.local = local;
    this.address = address;
    this.id = id;
    this.registered = registered;
  }

  get activeControllers(): number {
    return this.active.size;
  }
  get state(): PortState {
    return this.leaving.state;
  }
  get name(): string {
    const { host, port } = this.address;
    return `${this.local.label} to ${host} port ${port}`;
  }

  /** An association begins. */
  enter(controller: Controller): void {
    assert(this.state === 'online', `${this.name}: nobody connects through a port that is ${this.state}`);
    assert(!this.active.has(controller), `${this.name}: ${controller.name} counts once`);
    this.active.add(controller);
    if (this.active.size === 1) this.local.activeRemotePorts++;
  }

  /** It is over: nothing is asked of the transport for it any more (PORT.3). */
  leave(controller: Controller): void {
    assert(this.active.delete(controller), `${this.name}: ${controller.name} is active`);
    if (this.active.size === 0) this.local.activeRemotePorts--;
  }
}

export class LocalPort {
  /** The address to come from; empty: whatever the system chooses. */
  readonly name: string;
  readonly id: number;
  readonly net: Net;
  registered: boolean;
  /** Remote ports that are online, by their key. */
  readonly remotes = new Map<string, RemotePort>();
  activeRemotePorts = 0;
  readonly leaving = new Leaving();

  constructor(name: string, id: number, net: Net, registered: boolean) {
    this.name = name;
    this.id = id;
    this.net = net;
    this.registered = registered;
  }

  /** Its name for people. */
  get label(): string {
    return this.name === ANY_LOCAL ? 'any' : this.name;
  }
  get state(): PortState {
    return this.leaving.state;
  }
}
