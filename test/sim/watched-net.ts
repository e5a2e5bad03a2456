/**
 * The network as one host gets it, with an eye on what is asked of it: nothing for an association that is over, nothing
 * at all once the transport was unloaded (PORT.3), and no connection but through a port that is online (PORT.4).
 */
import { Association } from '../../src/initiator/association.ts';
import { Connection } from '../../src/initiator/connection.ts';
import type { Registry } from '../../src/initiator/registry.ts';
import type {
  Address,
  ConnectOptions,
  IoError,
  Net,
  Transport,
  TransportEvents,
} from '../../src/runtime/ports.ts';
import type { World } from './world.ts';

export class WatchedNet implements Net {
  readonly #world: World;
  readonly #host: string;
  readonly #net: Net;
  /** The host's; it is made with this. */
  registry: Registry | undefined;
  /** Its local port was unregistered, and that is done: its driver may be gone. */
  unloaded = false;

  constructor(world: World, host: string, net: Net, registry: Registry | undefined) {
    this.#world = world;
    this.#host = host;
    this.#net = net;
    this.registry = registry;
  }

  broken(rule: string, text: string): void {
    this.#world.violation(rule, `${this.#host}: ${text}`, [this.#host]);
  }

  listen(...args: Parameters<Net['listen']>): void {
    this.#net.listen(...args);
  }

  connect(
    options: ConnectOptions,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void } {
    this.#checkConnect(options.to);
    return this.#net.connect(options, (error, transport) =>
      done(error, transport && new WatchedTransport(this, transport)),
    );
  }

  #checkConnect(to: Address): void {
    const controller = [...(this.registry?.controllers ?? [])].find(({ options }) => options.address === to);
    const association = controller?.association;
    const local = association?.remote.local.name;
    const away = this.registry?.ports.away.some(
      (place) => place.local === local && (place.address === undefined || place.address.host === to.host),
    );
    if (this.unloaded) this.broken('PORT.3', `connects to ${to.host} by a transport that was unloaded`);
    else if (controller === undefined || association?.open !== true)
      this.broken('PORT.3', `connects to ${to.host} without an association`);
    else if (association.remote.state !== 'online' || association.remote.local.state !== 'online')
      this.broken('PORT.4', `${controller.name} connects by a port that is ${association.remote.state}`);
    else if (away === true) this.broken('PORT.4', `${controller.name} connects by a port that is away`);
  }
}

class WatchedTransport implements Transport {
  readonly #net: WatchedNet;
  readonly #transport: Transport;
  #association: Association | undefined = undefined;

  constructor(net: WatchedNet, transport: Transport) {
    this.#net = net;
    this.#transport = transport;
  }

  get local(): Address {
    return this.#transport.local;
  }
  get remote(): Address {
    return this.#transport.remote;
  }
  get readsPayload(): boolean {
    return this.#transport.readsPayload;
  }

  #called(what: string): void {
    if (this.#net.unloaded) this.#net.broken('PORT.3', `${what} after the transport was unloaded`);
    else if (this.#association?.over === true)
      this.#net.broken('PORT.3', `${what} for an association of ${this.#association.name} that is over`);
  }

  start(events: TransportEvents): void {
    if (events instanceof Connection && events.owner instanceof Association) this.#association = events.owner;
    this.#called('start');
    this.#transport.start(events);
  }
  write(parts: readonly Uint8Array[], done: () => void): void {
    this.#called('write');
    this.#transport.write(parts, done);
  }
  pause(): void {
    this.#called('pause');
    this.#transport.pause();
  }
  resume(): void {
    this.#called('resume');
    this.#transport.resume();
  }
  end(): void {
    this.#called('end');
    this.#transport.end();
  }
  close(): void {
    this.#called('close');
    this.#transport.close();
  }
  reset(): void {
    this.#called('reset');
    this.#transport.reset();
  }
}
