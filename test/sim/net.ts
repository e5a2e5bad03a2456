/**
 * The network: machines with addresses, who listens, and a link between each host and each address of a target.
 * Listening and connecting are the Net port of one process; the wires do the rest.
 */
import type {
  Address,
  ConnectOptions,
  IoError,
  Listener,
  Net,
  Transport,
  TransportEvents,
} from '../../src/runtime/ports.ts';
import type { MachineClock, SimClock } from './clock.ts';
import { Link, type LinkOptions } from './link.ts';
import type { SimRandom } from './random.ts';
import type { SimTrace } from './trace.ts';
import { Wire, type SimTransport, type WireUser } from './wire.ts';

/** TCP sends a SYN again after so many microseconds. */
const SYN_RETRY = 1_000_000;

interface Listening {
  readonly process: MachineClock;
  readonly address: Address;
  readonly accept: (transport: Transport) => void;
}

export class SimNet implements WireUser {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly trace: SimTrace;
  /** By the name of the host and the target's address. */
  readonly links = new Map<string, Link>();
  /** Every wire that was ever made, in order. */
  readonly wires: Wire[] = [];
  readonly #listening = new Map<string, Listening>();
  readonly #down = new Set<string>();
  readonly #options: LinkOptions;
  /** Called after an event, with whom it reached. */
  onTouched: (events: TransportEvents) => void = () => undefined;
  #nextPort = 20_000;

  constructor(clock: SimClock, random: SimRandom, trace: SimTrace, options: LinkOptions) {
    this.clock = clock;
    this.random = random;
    this.trace = trace;
    this.#options = options;
  }

  /** The Net port of one process. */
  port(process: MachineClock): Net {
    return {
      listen: (at, accept, done) => this.#listen(process, at, accept, done),
      connect: (options, done) => this.#connect(process, options, done),
    };
  }

  link(host: string, address: string): Link {
    const name = `${host}→${address}`;
    let link = this.links.get(name);
    if (link === undefined) {
      link = new Link(name, this.clock, this.random.fork(name), this.trace, this.#options);
      this.links.set(name, link);
    }
    return link;
  }

  /** Connections that are open on the side of `process`. */
  open(process: MachineClock): SimTransport[] {
    return this.wires
      .flatMap(({ client, server }) => [client, server])
      .filter((side) => side.process === process && !side.over);
  }

  listening(process: MachineClock): number {
    return [...this.#listening.values()].filter((each) => each.process === process).length;
  }

  /** The wire of a transport, told by its ends. */
  wireOf(local: Address, remote: Address): Wire | undefined {
    return this.wires.findLast(
      ({ client }) =>
        client.local.port === local.port &&
        client.local.host === local.host &&
        client.remote.port === remote.port,
    );
  }

  /** The process is gone. `silent`: the machine has no power, and says nothing until `powerOn`. */
  ended(process: MachineClock, silent: boolean): void {
    if (silent) this.#down.add(process.name);
    for (const [key, each] of this.#listening) if (each.process === process) this.#listening.delete(key);
    for (const side of this.open(process)) side.abandoned(silent);
  }

  powerOn(machine: string): void {
    this.#down.delete(machine);
    for (const link of this.links.values()) link.goOn();
  }

  /**
   * TCP's keep-alive, when all is well again: who still talks to nobody is told. NVMe's own watches the admin queue
   * only, and an idle I/O queue whose other end has gone would not be missed.
   */
  probe(): void {
    for (const { client, server } of this.wires) {
      if (server.over && !server.leftOrderly && !client.over) client.resetBy('keep-alive');
      if (client.over && !client.leftOrderly && !server.over) server.resetBy('keep-alive');
    }
  }

  isDown(process: MachineClock): boolean {
    return this.#down.has(process.name);
  }

  touched(events: TransportEvents): void {
    this.onTouched(events);
  }

  #listen(
    process: MachineClock,
    address: Address,
    accept: (transport: Transport) => void,
    done: (error: IoError | undefined, listener?: Listener) => void,
  ): void {
    const key = `${address.host} ${address.port}`;
    if (this.#listening.has(key)) {
      process.defer(() => done({ code: 'EADDRINUSE', message: `${key} is in use` }));
      return;
    }
    this.#listening.set(key, { process, address, accept });
    const close = (closed: () => void): void => {
      this.#listening.delete(key);
      process.defer(closed);
    };
    process.defer(() => done(undefined, { address, close }));
  }

  #connect(
    process: MachineClock,
    options: ConnectOptions,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void } {
    const { to } = options;
    const link = this.link(process.name, to.host);
    const client = { process, address: { host: options.localHost ?? process.name, port: this.#nextPort++ } };
    let cancelled = false;
    let handed = false;
    let made: Wire | undefined;
    const refuse = (code: string): void => {
      this.trace.note(code, link.name);
      if (!cancelled && !process.dead)
        done({ code, message: `cannot connect to ${to.host} port ${to.port}` });
    };
    const arrive = (): void => {
      if (cancelled || process.dead) return;
      const listening = this.#listening.get(`${to.host} ${to.port}`);
      const unheard =
        link.blackhole.up ||
        link.blackhole.down ||
        [...this.#down].some((name) => to.host.startsWith(`${name}.`));
      if (unheard) {
        this.clock.after(`${link.name}: SYN again`, SYN_RETRY, arrive);
        return;
      }
      if (listening === undefined || link.refusing) {
        this.clock.after(`${link.name}: refused`, link.delay(), () => refuse('ECONNREFUSED'));
        return;
      }
      const wire = new Wire(this, link, this.wires.length + 1, client, {
        process: listening.process,
        address: to,
      });
      made = wire;
      wire.client.lends = options.chunksAreLent === true;
      this.wires.push(wire);
      this.trace.note('accepts', link.name, wire.id);
      listening.accept(wire.server);
      this.clock.after(`${link.name}: SYN ACK`, link.delay(), () => {
        if (process.dead || cancelled) return;
        handed = true;
        if (wire.client.over) done({ code: 'ECONNRESET', message: `${to.host} reset the connection` });
        else done(undefined, wire.client);
      });
    };
    this.clock.after(`${link.name}: SYN`, link.delay() + link.connectDelay, arrive);
    return {
      cancel: () => {
        cancelled = true;
        if (!handed) made?.client.forsake();
      },
    };
  }
}
