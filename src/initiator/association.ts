/**
 * An association: what one attempt to connect a controller made, from its first connection to the end of its last.
 * A controller that reconnects makes a new one each time; an old one may be asked when the target, too, is through
 * with it (GHOST.2).
 */
import { machine, type Machine } from '../runtime/machine.ts';
import type { ConnectOptions, Env, Net, Timer } from '../runtime/ports.ts';
import { sendAdmin } from './admin-command.ts';
import { abort } from './commands.ts';
import type { CloseWhy } from './close-why.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import type { Controller } from './controller.ts';
import { Events } from './events.ts';
import type { Failure } from './failure.ts';
import { KeepAlive } from './keep-alive.ts';
import { sourceAddress } from './interfaces.ts';
import { IoQueues } from './io-queues.ts';
import type { Limits } from './limits.ts';
import type { RemotePort } from './port.ts';
import type { Request } from './request.ts';
import { Scan } from './scan.ts';
import { Setup } from './setup.ts';
import { Shutdown } from './shutdown.ts';
import type { Slot } from './slot.ts';

const STATES = {
  /** Being set up, or in use. Its controller ends it, or what happens to a connection. */
  open: ['ending', 'over'],
  /** No command goes any more; the end of the last connection wakes it. */
  ending: ['over'],
  /** Every connection is dead on our side, and no buffer of ours is with a socket. */
  over: [],
} as const;

/**
 * How it ended. `fin seen`: the target closed every connection that carried I/O, or the admin queue's, before we did;
 * `shut down`: CSTS.SHST said complete; `never connected`: no I/O queue was ever there; `reset`: anything else.
 */
export type AssociationEnd = 'open' | 'fin seen' | 'shut down' | 'never connected' | 'reset';

/** NVMe/TCP: in-capsule data of the admin queue, and of every Connect. */
const ADMIN_CAPSULE_DATA = 8192;
/** The longest that a timer runs. */
const LONGEST = 2 ** 31 - 1;

export class Association implements ConnectionOwner {
  readonly controller: Controller;
  /** Never used again (NUM.11). */
  readonly id: number;
  readonly remote: RemotePort;
  readonly state: Machine<keyof typeof STATES>;
  admin: Connection | undefined = undefined;
  readonly queues = new IoQueues();
  readonly events: Events;
  readonly keepAlive: KeepAlive;
  readonly scan: Scan;

  /** Keep Alive Timeout as it was granted, milliseconds; 0: none. */
  kato = 0;
  /** Traffic Based Keep Alive. */
  tbkas = false;
  /** Command Quiesce Time, milliseconds: what the controller told, else the configured default. */
  cqt: number;
  /** The target is known to close a connection only when nothing of it executes any more. */
  targetKeepsGhost1 = false;
  /** In `Clock.now()` milliseconds: from then on nothing can leave this host on it. Undefined: it still may. */
  stoppedSendingAt: number | undefined = undefined;
  ended: AssociationEnd = 'open';
  /** The orderly shutdown was completed by the controller. */
  shutDown = false;

  /** Setup waits for it. */
  onReady: ((connection: Connection) => void) | undefined = undefined;
  #shutdown: Shutdown | undefined = undefined;
  #aborts = 0;
  readonly #waiters = new Set<(proved: boolean) => void>();
  /** They are about to be told. */
  #telling = false;
  #timer: Timer | undefined = undefined;

  constructor(controller: Controller, id: number, remote: RemotePort) {
    this.controller = controller;
    this.id = id;
    this.remote = remote;
    this.cqt = controller.limits.commandQuiesceTime;
    this.state = machine(controller.env, `${controller.name} association`, STATES, 'open');
    this.events = new Events(this);
    this.keepAlive = new KeepAlive(this);
    this.scan = new Scan(this);
  }

  // ---- what its connections ask

  get env(): Env {
    return this.controller.env;
  }
  get limits(): Limits {
    return this.controller.limits;
  }
  get name(): string {
    return this.controller.name;
  }
  get net(): Net {
    return this.remote.local.net;
  }
  get to(): ConnectOptions {
    const { options, env } = this.controller;
    const { address } = options;
    return { to: address, localHost: sourceAddress(options, address.host, env.interfaces.list()) };
  }
  get headerDigest(): boolean {
    return this.controller.options.headerDigest;
  }
  get dataDigest(): boolean {
    return this.controller.options.dataDigest;
  }

  get open(): boolean {
    return this.state.is('open');
  }
  get over(): boolean {
    return this.state.is('over');
  }
  /** One of its connections ended by a protocol fault, of either side. */
  get protocolFault(): boolean {
    return this.connections.some(({ protocolFault }) => protocolFault);
  }
  /** Whether a command went out and was answered on any queue since the last call. */
  traffic(): boolean {
    let traffic = false;
    for (const { queue } of this.connections) traffic = queue.traffic() || traffic;
    return traffic;
  }
  /** Those of the I/O queues. */
  get io(): readonly Connection[] {
    return this.queues.connections;
  }
  get connections(): readonly Connection[] {
    return this.admin === undefined ? this.io : [this.admin, ...this.io];
  }

  start(): void {
    new Setup(this).start();
  }

  /** A connection of this association; its maker opens it. */
  newConnection(qid: number, entries: number): Connection {
    const connection = new Connection(this, qid, entries, ADMIN_CAPSULE_DATA);
    if (qid === 0) this.admin = connection;
    else this.queues.add(connection);
    return connection;
  }

  /** As `sendAdmin`. */
  command(build: (request: Request) => void, done: (request: Request) => void): void {
    sendAdmin(this.admin?.queue, this.env.clock, build, done);
  }

  connectionReady(connection: Connection): void {
    this.onReady?.(connection);
  }

  /** One connection is lost, and with it the association (TCP Transport 1.1, section 3.5). */
  connectionLost(why: Failure): void {
    if (this.open) this.controller.associationLost(this, why);
  }

  commandsFailed(): void {
    this.controller.subsystem?.flush();
  }

  connectionEnded(): void {
    if (this.state.is('ending')) this.settle();
    else this.#shutdown?.settle();
  }

  /**
   * A command was not answered in time: the controller is asked to abort it, as often as its ACL allows, and gets a
   * little longer. False: there is nothing to be tried, the connection is to end.
   */
  abort(connection: Connection, slot: Slot): boolean {
    const acl = this.controller.capabilities.identified?.acl ?? 0;
    const { qid } = connection.queue;
    if (qid === 0 || !this.controller.state.is('live') || !this.open || this.#aborts > acl) return false;
    this.#aborts++;
    this.command(
      (request) => {
        abort(request, qid, slot.cid);
        request.timeout = this.limits.abortTimeout;
      },
      ({ status, dw0 }) => {
        this.#aborts--;
        if (!this.open) return;
        const answer = status !== 0 ? 'refused' : (dw0 & 1) === 0 ? 'aborted' : 'not aborted';
        this.controller.log('info', 'Abort was answered', { queue: qid, cid: slot.cid, answer });
      },
    );
    return true;
  }

  // ---- the end

  /** Ends it in order, within a bound; the controller sends nothing any more. */
  leave(why: CloseWhy): void {
    this.#shutdown = new Shutdown(this, why);
    this.#shutdown.start();
  }

  /**
   * Every connection is reset: nothing that was written may be delivered any more (QUIESCE.14). Where a target that
   * keeps GHOST.1 has begun to leave, the rest of its farewell is waited for. Idempotent; when the port goes, nothing is.
   */
  tearDown(why: CloseWhy): void {
    if (this.over || (!this.open && why !== 'port unregistered')) return;
    // The admin queue's close comes last, and says it for all.
    const said = this.admin?.finSeen === true || !this.connections.some(({ finSeen }) => finSeen);
    const leaves = this.targetKeepsGhost1 && !said;
    const wait = leaves && why === 'association lost';
    if (this.open) this.state.to('ending', why);
    this.onReady = undefined;
    for (const connection of this.connections)
      if (wait) connection.part(why);
      else connection.abort(why);
    this.settle();
  }

  /** Over once every connection is. Idempotent. */
  settle(): void {
    if (this.over || this.connections.some(({ state }) => !state.is('ended'))) return;
    this.stoppedSendingAt = this.env.clock.now();
    this.ended = this.#end();
    this.state.to('over', this.ended);
    this.controller.associationOver(this);
    this.#watch();
  }

  #end(): AssociationEnd {
    const carried = this.io.filter(({ wasReady }) => wasReady);
    if (this.shutDown) return 'shut down';
    if (carried.length === 0) return 'never connected';
    if (this.admin?.finSeen === true || carried.every(({ finSeen }) => finSeen)) return 'fin seen';
    return 'reset';
  }

  // ---- when the target is through with it

  /** When, by time alone, nothing of it can execute on the target any more; Infinity: time proves nothing. */
  get deadAt(): number {
    if (this.stoppedSendingAt === undefined || this.kato === 0) return Infinity;
    return this.stoppedSendingAt + (this.tbkas ? 3 : 2) * this.kato + this.cqt;
  }

  /** Known to be dead on the target (GHOST.2). */
  get dead(): boolean {
    if (!this.over) return false;
    const said =
      this.ended === 'shut down' ||
      this.ended === 'never connected' ||
      (this.ended === 'fin seen' && this.targetKeepsGhost1);
    return said || this.env.clock.now() >= this.deadAt;
  }

  /** It is over, and nothing will ever prove that it is dead on the target. */
  get hopeless(): boolean {
    return this.over && !this.dead && this.deadAt === Infinity;
  }

  /**
   * Calls `fn` in a turn of its own: `proved`, once the association is known to be dead on the target; else once it is
   * over and nothing can tell. Gives a function that takes the call back.
   */
  whenDead(fn: (proved: boolean) => void): () => void {
    const waiter = (proved: boolean): void => fn(proved);
    this.#waiters.add(waiter);
    this.#watch();
    return () => {
      this.#waiters.delete(waiter);
      if (this.#waiters.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    };
  }

  #watch(): void {
    if (!this.over || this.#waiters.size === 0 || this.#timer !== undefined || this.#telling) return;
    if (this.dead) {
      // Without a timer: those who wait have waited long enough.
      this.#telling = true;
      this.env.clock.defer(() => this.#tell());
      return;
    }
    const ms = this.hopeless ? 0 : this.deadAt - this.env.clock.now();
    this.#timer = this.env.clock.timer(
      `${this.name}: association ${this.id} is dead on the target`,
      Math.min(ms, LONGEST),
      () => {
        this.#timer = undefined;
        if (this.dead || this.hopeless) this.#tell();
        else this.#watch();
      },
      // Whose I/O waits for it has a head, which waits for a path or has one: that holds the program, this does not.
      false,
    );
  }

  #tell(): void {
    this.#telling = false;
    const proved = this.dead;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(proved);
    this.controller.subsystem?.flush();
  }

  /** What it waits for, to be shown. */
  get timers(): readonly Timer[] {
    return [...this.state.timers(), ...(this.#timer === undefined ? [] : [this.#timer])];
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    for (const { queue } of this.connections) queue.invariants();
  }
}
