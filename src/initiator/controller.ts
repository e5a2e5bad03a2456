/**
 * A controller as its host knows it: one association, with the connections of its admin queue and its I/O queues.
 * setup.ts makes it live, events.ts and keep-alive.ts keep it so, scan.ts looks at its namespaces, shutdown.ts ends
 * it in order.
 */
import type { Value } from '../layout/struct.ts';
import type { IdController } from '../nvme/identify.ts';
import { Status } from '../nvme/status.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Address, ConnectOptions, Env, Level } from '../runtime/ports.ts';
import { AdminCommand } from './admin-command.ts';
import { Connection, type CloseWhy, type ConnectionOwner } from './connection.ts';
import { Events } from './events.ts';
import { failure, type Failure } from './failure.ts';
import { KeepAlive } from './keep-alive.ts';
import type { Limits } from './limits.ts';
import type { Queue } from './queue.ts';
import type { Registry } from './registry.ts';
import type { Request } from './request.ts';
import { Scan } from './scan.ts';
import { Setup } from './setup.ts';
import { Shutdown } from './shutdown.ts';
import type { Subsystem } from './subsystem.ts';

export interface ControllerOptions {
  readonly address: Address;
  /** Local address to come from. */
  readonly localHost: string | undefined;
  readonly subnqn: string;
  readonly hostnqn: string;
  readonly hostid: string;
  /** I/O queues to ask for; 0: a discovery controller. */
  readonly ioQueues: number;
  /** Entries of each of them. */
  readonly queueEntries: number;
  /** Keep Alive Timeout, milliseconds; 0: none. */
  readonly kato: number;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly disableSqFlow: boolean;
}

/** Linux's states. `resetting` is for a live controller that will be connected again. */
const STATES = {
  new: ['connecting', 'deleting'],
  /** setup.ts: the controller's answers, their time-outs. */
  connecting: ['live', 'deleting'],
  /** Until something ends it. */
  live: ['resetting', 'deleting'],
  resetting: ['connecting', 'deleting'],
  /** Its connections end; the last of them wakes it. */
  deleting: ['dead'],
  dead: [],
} as const;

export type ControllerState = keyof typeof STATES;
/** Why a controller goes. */
export type DeleteWhy = CloseWhy | 'not set up' | 'a command was refused';

/** NVMe/TCP: in-capsule data of the admin queue, and of every Connect. */
const ADMIN_CAPSULE_DATA = 8192;

export class Controller implements ConnectionOwner {
  readonly env: Env;
  readonly registry: Registry;
  readonly limits: Limits;
  readonly options: ControllerOptions;
  /** The N of nvmeN (NUM.1), and a number that is never used again (NUM.11). */
  readonly instance: number;
  readonly id: number;
  readonly to: ConnectOptions;
  readonly state: Machine<ControllerState>;

  /** Set when it is known which one it is. */
  subsystem: Subsystem | undefined = undefined;
  adminConnection: Connection | undefined = undefined;
  readonly ioConnections: Connection[] = [];
  #turn = 0;

  // What setup.ts learns.

  cntlid = 0;
  /** VS. */
  version = 0;
  /** CAP: entries that a queue may have; all command sets; the memory page that size limits are counted in, bytes. */
  maxEntries = 0;
  commandSets = false;
  minimumPage = 4096;
  identified: Value<typeof IdController> | undefined = undefined;
  /** Identify Controller as it came. */
  identifiedBytes: Uint8Array = new Uint8Array(0);
  /** Limits of one command: bytes, and for Dataset Management ranges, blocks of one range, blocks of all. */
  maxTransfer = 0;
  maxZeroes = 0;
  maxZeroesDeallocate = 0;
  maxRanges = 256;
  maxRangeBlocks = Infinity;
  maxDeallocate = Infinity;

  /** Why it failed; undefined: it did not, or was told to go. */
  reason: Failure | undefined = undefined;
  readonly events: Events;
  readonly #keepAlive: KeepAlive;
  readonly #scan: Scan;
  #shutdown: Shutdown | undefined = undefined;
  #shutdownOver = false;
  #orderly = false;
  #why: CloseWhy = 'disconnected';
  #connected: ((reason: Failure | undefined) => void) | undefined = undefined;
  readonly #goneWaiters: (() => void)[] = [];

  constructor(registry: Registry, instance: number, id: number, options: ControllerOptions) {
    this.registry = registry;
    this.env = registry.env;
    this.limits = registry.limits;
    this.instance = instance;
    this.id = id;
    this.options = options;
    this.to = { to: options.address, localHost: options.localHost };
    this.state = machine(this.env, this.name, STATES, 'new');
    this.events = new Events(this);
    this.#keepAlive = new KeepAlive(this);
    this.#scan = new Scan(this);
  }

  get name(): string {
    return `nvme${this.instance}`;
  }
  get discovery(): boolean {
    return this.options.ioQueues === 0;
  }
  get headerDigest(): boolean {
    return this.options.headerDigest;
  }
  get dataDigest(): boolean {
    return this.options.dataDigest;
  }
  get kato(): number {
    return this.options.kato;
  }
  get ioTimeout(): number {
    return this.limits.ioTimeout;
  }
  get trafficBased(): boolean {
    return this.identified?.ctratt.tbkas === 1;
  }
  /** RTD3E: how long an orderly shutdown may take; 0: not told. */
  get shutdownMicroseconds(): number {
    return this.identified?.rtd3e ?? 0;
  }
  /** Commands that were answered, over all queues. */
  get completed(): number {
    let sum = this.adminConnection?.queue.completed ?? 0;
    for (const { queue } of this.ioConnections) sum += queue.completed;
    return sum;
  }

  // ---- the beginning

  /** `done` is called once: when it is live and its namespaces are known, or when it is dead. */
  connect(done: (reason: Failure | undefined) => void): void {
    this.#connected = done;
    this.state.to('connecting', 'connect');
    new Setup(this).start();
  }

  /** A connection of this association; its owner opens it. */
  newConnection(qid: number, entries: number): Connection {
    const connection = new Connection(this, qid, entries, ADMIN_CAPSULE_DATA);
    if (qid === 0) this.adminConnection = connection;
    else this.ioConnections.push(connection);
    return connection;
  }

  /** From the moment that CTRATT is known the controller may miss us. */
  startKeepAlive(): void {
    this.#keepAlive.start();
  }

  /** setup.ts is through. */
  live(): void {
    this.state.to('live', 'set up');
    this.#keepAlive.start();
    if (this.discovery) this.ready();
    else this.#scan.start();
  }

  /** The namespaces are known; the first time that is what `connect` waits for. */
  ready(): void {
    const connected = this.#connected;
    this.#connected = undefined;
    connected?.(undefined);
  }

  /** A namespace came, went or changed. */
  rescan(): void {
    if (this.state.is('live') && !this.discovery) this.#scan.start();
  }

  // ---- commands

  /**
   * Sends an admin command: `build` makes it, `done` gets it back. Without a time-out of its own it is an
   * Asynchronous Event Request, or gets the usual one.
   */
  admin(build: (request: Request) => void, done: (request: Request) => void): void {
    const { request } = new AdminCommand(done);
    build(request);
    if (this.adminConnection?.queue.submit(request) === true) return;
    request.status = Status.HostPathError;
    this.env.clock.defer(() => done(request));
  }

  /** The queue for the next I/O: the one with the least to do, taking turns among equals. */
  ioQueue(): Queue | undefined {
    const { length } = this.ioConnections;
    if (length === 0) return undefined;
    const first = this.#turn++ % length;
    let best = this.ioConnections[first]!.queue;
    for (let i = 1; i < length && best.load > 0; i++) {
      const { queue } = this.ioConnections[(first + i) % length]!;
      if (queue.load < best.load) best = queue;
    }
    return best;
  }

  // ---- what its connections tell

  connectionReady(connection: Connection): void {
    this.onReady?.(connection);
  }
  /** Setup waits for it. */
  onReady: ((connection: Connection) => void) | undefined = undefined;

  /** One connection is lost, and with it the association (TCP Transport 1.1, section 3.5). */
  connectionLost(why: Failure): void {
    this.fail('association lost', why);
  }

  connectionEnded(): void {
    this.settle();
  }

  // ---- the end

  /** It cannot go on. Nobody connects it again yet, so it goes. */
  fail(why: DeleteWhy, reason: Failure): void {
    this.#delete(why, reason, false);
  }

  /** Orderly: I/O queues, shutdown notification, admin queue. `done` is called when it is dead. */
  disconnect(why: 'disconnected' | 'host stops', done: () => void): void {
    if (this.state.is('dead')) {
      done();
      return;
    }
    this.#goneWaiters.push(done);
    if (this.state.is('deleting')) return;
    const reason = failure('ECANCELED', why === 'disconnected' ? 'disconnected' : 'the host stops');
    this.#delete(why, reason, this.state.is('live'));
  }

  #delete(why: DeleteWhy, reason: Failure, orderly: boolean): void {
    if (this.state.is('deleting', 'dead')) {
      // It was ending in order and cannot: the rest is done without the controller.
      this.#orderly &&= orderly;
      this.settle();
      return;
    }
    this.reason = reason;
    this.#orderly = orderly;
    this.#why = why === 'host stops' || why === 'disconnected' ? why : 'association lost';
    this.log(orderly ? 'info' : 'warn', 'controller goes', { why, reason: reason.message });
    this.state.to('deleting', why);
    this.onReady = undefined;
    this.subsystem?.leave(this);
    for (const connection of this.ioConnections) connection.close(this.#why);
    this.settle();
  }

  /** Does what is due on the way out, one step after the other. Idempotent. */
  settle(): void {
    if (!this.state.is('deleting')) return;
    if (this.#orderly && this.ioConnections.some(({ state }) => !state.is('ended'))) return;
    const admin = this.adminConnection;
    if (this.#orderly && admin?.ready === true && !this.#shutdownOver) {
      if (this.#shutdown !== undefined) return;
      this.#shutdown = new Shutdown(this, () => {
        this.#shutdownOver = true;
        this.settle();
      });
      this.#shutdown.start();
      return;
    }
    admin?.close(this.#why);
    const connections = admin === undefined ? this.ioConnections : [admin, ...this.ioConnections];
    if (this.state.is('deleting') && connections.every(({ state }) => state.is('ended'))) this.#die();
  }

  #die(): void {
    this.state.to('dead', this.state.why);
    this.registry.forget(this);
    const connected = this.#connected;
    this.#connected = undefined;
    connected?.(this.reason);
    for (const done of this.#goneWaiters.splice(0)) done();
  }

  log(level: Level, what: string, fields: Record<string, string | number | undefined> = {}): void {
    this.env.trace.event(level, what, { controller: this.name, subnqn: this.options.subnqn, ...fields });
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    this.adminConnection?.queue.invariants();
    for (const { queue } of this.ioConnections) queue.invariants();
  }
}
