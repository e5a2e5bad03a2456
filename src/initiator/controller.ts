/**
 * A controller as its host knows it: it lives through many associations, one after the other, and its name, its number
 * and its paths stay the same meanwhile. setup.ts makes an association live, scan.ts looks at its namespaces, the
 * decisions about a lost one are in recovery.ts, and shutdown.ts ends it in order.
 */
import type { Value } from '../layout/struct.ts';
import type { IdController } from '../nvme/identify-controller.ts';
import { Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Address, Env, Level } from '../runtime/ports.ts';
import { AdminCommand } from './admin-command.ts';
import { Association } from './association.ts';
import type { CloseWhy, Connection } from './connection.ts';
import { failure, type Failure } from './failure.ts';
import type { Limits } from './limits.ts';
import type { RemotePort } from './ports.ts';
import type { Queue } from './queue.ts';
import {
  DEFAULT_RECOVERY,
  contradictions,
  deadlines,
  givenUp,
  reconnectDelay,
  type Loss,
  type Recovery,
} from './recovery.ts';
import type { Registry } from './registry.ts';
import type { Request } from './request.ts';
import { Shutdown } from './shutdown.ts';
import type { HeadSettings, Subsystem } from './subsystem.ts';

export interface ControllerOptions {
  readonly address: Address;
  /** Local address to come from, and the interface that has it: they name the local port. */
  readonly localHost: string | undefined;
  readonly localInterface?: string | undefined;
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
  /** What is left out is as in Linux. */
  readonly recovery?: Partial<Recovery> | undefined;
  /** Try again when the first connect fails, as after a loss. Default: it fails at once. */
  readonly keepTrying?: boolean | undefined;
  /** How the heads of its subsystem behave from now on; what is left out stays as it is. */
  readonly heads?: Partial<HeadSettings> | undefined;
  /** The policy `preferred` takes its paths first. */
  readonly preferred?: boolean | undefined;
}

/** Linux's states and transitions. */
const STATES = {
  new: ['connecting', 'deleting'],
  /** An attempt is under way: setup.ts, the controller's answers, their time-outs. Or one is waited for: the timer. */
  connecting: ['live', 'deleting'],
  /** Until something ends it. */
  live: ['resetting', 'deleting'],
  /** Its connections were reset; the end of the last one wakes it, or the timer. */
  resetting: ['connecting', 'deleting'],
  /** Its connections end, in order if it is there to be told; the last of them wakes it, or the timer. */
  deleting: ['dead'],
  dead: [],
} as const;

export type ControllerState = keyof typeof STATES;
/** Why a controller goes. */
export type DeleteWhy = CloseWhy | 'not set up' | 'given up' | 'a command was refused';

/** Names of its timers, and what each of them will do. */
export const CONTROLLER_TIMERS: Readonly<Record<string, string>> = {
  reconnect: 'connects the controller again',
  ctrl_loss_tmo: 'gives the controller up',
  dev_loss_tmo: 'gives the controller up, because its remote port is gone',
  fast_io_fail_tmo: 'fails the I/O that waits, while the controller goes on reconnecting',
  drain: 'stops waiting for the old connections; nothing is retried before they are dead',
  disconnect: 'stops being polite, then stops waiting',
};

/** The longest that a timer runs, ms; a later deadline is looked at again then. */
const LONGEST = 2 ** 31 - 1;

export class Controller {
  readonly env: Env;
  readonly registry: Registry;
  readonly limits: Limits;
  readonly options: ControllerOptions;
  /** The N of nvmeN (NUM.1), and a number that is never used again (NUM.11). */
  readonly instance: number;
  readonly id: number;
  readonly state: Machine<ControllerState>;
  /** May change while it is connected: `set`. */
  recovery: Recovery;

  /** Set when it is known which one it is. */
  subsystem: Subsystem | undefined = undefined;
  /** The present one, or the last. */
  association: Association | undefined = undefined;
  #turn = 0;

  // What setup.ts learns, each time.

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

  /** Why it failed, or was lost the last time; undefined: it is well, or was told to go. */
  reason: Failure | undefined = undefined;
  /** Since when it is lost, in `Clock.now()` milliseconds; undefined: it is not. */
  lostAt: number | undefined = undefined;
  /** Since when its remote port is away; undefined: it is there. */
  portLostAt: number | undefined = undefined;
  /** Attempts since the loss. */
  attempts = 0;
  /** Times that it was live. */
  connects = 0;
  /** fast_io_fail_tmo is over, and no path through it was usable since: I/O fails. */
  failedFast = false;
  /** Live, but its namespaces were not looked at in this association: no path through it is usable (QUIESCE.6). */
  revalidating = false;

  #shutdown: Shutdown | undefined = undefined;
  #shutdownOver = false;
  #orderly = false;
  /** The next attempt is to be made without delay: it was asked for, or the port came back. */
  #soon = false;
  #closeWhy: CloseWhy = 'disconnected';
  #connected: ((reason: Failure | undefined) => void) | undefined = undefined;
  readonly #goneWaiters: (() => void)[] = [];

  constructor(registry: Registry, instance: number, id: number, options: ControllerOptions) {
    this.registry = registry;
    this.env = registry.env;
    this.limits = registry.limits;
    this.instance = instance;
    this.id = id;
    this.options = options;
    this.recovery = { ...DEFAULT_RECOVERY, ...options.recovery };
    this.state = machine(this.env, this.name, STATES, 'new');
    this.#warn();
  }

  #warn(): void {
    for (const why of contradictions(this.recovery))
      this.log('warn', 'options contradict each other', { why });
  }

  get name(): string {
    return `nvme${this.instance}`;
  }
  get discovery(): boolean {
    return this.options.ioQueues === 0;
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
  get adminConnection(): Connection | undefined {
    return this.association?.admin;
  }
  get ioConnections(): readonly Connection[] {
    return this.association?.io ?? [];
  }

  /** I/O may go through it now. */
  get usable(): boolean {
    return this.state.is('live') && !this.revalidating;
  }
  /** It is usable, or may be again. */
  get mayReturn(): boolean {
    return this.state.is('new', 'connecting', 'live', 'resetting');
  }
  /** Waits for its port to come back (PORT.6). */
  get suspended(): boolean {
    return this.state.is('connecting') && this.portLostAt !== undefined;
  }
  /** The first connect has not succeeded yet, and failing ends it. */
  get #first(): boolean {
    return this.#connected !== undefined && this.options.keepTrying !== true;
  }

  // ---- connecting

  /** `done` is called once: when it is live and its namespaces are known, or when it is dead. */
  connect(done: (reason: Failure | undefined) => void): void {
    this.#connected = done;
    this.lostAt = this.env.clock.now();
    this.#to('connecting', 'connect');
    this.#armDeadlines();
    this.#attempt();
  }

  #attempt(): void {
    const { association } = this;
    this.#soon = false;
    if (association !== undefined && !association.over) {
      // QUIESCE.14: nothing is sent anew while a socket may still deliver the old.
      this.reason = failure('EBUSY', 'the connections of the last association are not dead yet');
      this.#wait();
      return;
    }
    const remote = this.registry.ports.resolve(this);
    if (remote === undefined) {
      // A timer that fires without a port just starts again (PORT.4); it is no attempt.
      this.portLostAt ??= this.env.clock.now();
      this.reason = failure('ENETDOWN', this.registry.ports.absence(this));
      if (this.#first) this.#delete('not connected', this.reason, false);
      else this.#wait();
      return;
    }
    this.portLostAt = undefined;
    this.attempts++;
    remote.enter(this);
    this.association = new Association(this, this.registry.nextId(), remote);
    this.association.start();
  }

  /** The attempt failed, or is not made yet: until the next one, or the end. */
  #next(): void {
    const why =
      this.#soon || this.#loss === undefined ? undefined : givenUp(this.#loss, this.env.clock.now());
    const dead = this.reason ?? failure('ECONNRESET', 'the association is lost');
    if (this.#first) this.#delete('not set up', dead, false);
    else if (why !== undefined) {
      this.log('warn', 'controller is given up', { why, attempts: this.attempts });
      this.#delete('given up', { ...dead, message: `${dead.message}; ${why}` }, false);
    } else if (this.#soon) this.#attempt();
    else this.#wait();
  }

  get #loss(): Loss | undefined {
    const { recovery, lostAt, portLostAt, attempts, reason } = this;
    return lostAt === undefined ? undefined : { recovery, lostAt, portLostAt, attempts, reason };
  }

  #wait(): void {
    const chance = new DataView(this.env.random.bytes(4).buffer).getUint32(0) / 2 ** 32;
    const ms = reconnectDelay(this.recovery, this.attempts, chance);
    this.log('info', 'connects again', { ms, attempts: this.attempts, last: this.reason?.message });
    // Of two that are due together the deadline comes first.
    this.#armDeadlines();
    this.state.after('reconnect', ms, () => this.#attempt());
  }

  /** The timers of a lost controller, whatever it does meanwhile. Leaving the state takes them along. */
  #armDeadlines(): void {
    const loss = this.#loss;
    for (const name of ['ctrl_loss_tmo', 'dev_loss_tmo', 'fast_io_fail_tmo']) this.state.cancel(name);
    if (loss === undefined || this.#first || !this.state.is('connecting', 'resetting')) return;
    const now = this.env.clock.now();
    const { failFast, giveUp, by } = deadlines(loss);
    const at = (name: string, due: number, then: () => void): void => {
      if (due === Infinity) return;
      this.state.after(name, Math.max(0, Math.min(due - now, LONGEST)), () => {
        if (this.env.clock.now() < due) this.#armDeadlines();
        else then();
      });
    };
    // With ctrl_loss_tmo 0 it goes when its connections are dead.
    if (giveUp > loss.lostAt) at(by, giveUp, () => this.#expired(by));
    if (!this.failedFast) at('fast_io_fail_tmo', failFast, () => this.#failFast());
  }

  #expired(by: string): void {
    const dead = this.reason ?? failure('ETIMEDOUT', 'the controller is lost');
    this.log('warn', 'controller is given up', { why: `${by} is over`, attempts: this.attempts });
    this.#delete('given up', { ...dead, message: `${dead.message}; ${by} is over` }, false);
  }

  #failFast(): void {
    this.failedFast = true;
    this.log('warn', 'I/O fails from now on', { why: 'fast_io_fail_tmo is over' });
    this.registry.journal.record(
      'controller state',
      this.name,
      this.id,
      'failed fast: fast_io_fail_tmo is over',
    );
    this.subsystem?.controllerChanged(this);
  }

  // ---- what setup.ts and scan.ts tell

  /** setup.ts is through. */
  live(): void {
    this.revalidating = !this.discovery;
    this.connects++;
    this.#to('live', 'set up');
    this.association!.keepAlive.start();
    this.subsystem?.controllerLive(this);
    if (this.discovery) this.ready();
    else this.association!.scan.start();
  }

  /** The namespaces are known, and paths go through it: what `connect` waits for, and what ends a loss. */
  ready(): void {
    const returned = this.revalidating || this.discovery;
    this.revalidating = false;
    if (returned) {
      this.failedFast = false;
      this.lostAt = undefined;
      this.attempts = 0;
      this.reason = undefined;
      // The paths are visible before anybody who waits looks for one (QUIESCE.3).
      this.subsystem?.controllerChanged(this);
    }
    const connected = this.#connected;
    this.#connected = undefined;
    connected?.(undefined);
  }

  /** The namespaces cannot be looked at. False: it goes on with those that it had. */
  scanFailed(why: DeleteWhy, reason: Failure): boolean {
    if (this.#first) this.#delete(why, reason, false);
    else if (this.revalidating) this.recover(reason);
    else return false;
    return true;
  }

  /** A namespace came, went or changed. */
  rescan(): void {
    if (this.state.is('live') && !this.discovery) this.association!.scan.start();
  }

  /** The discovery log changed, and its event is unmasked. */
  discoveryChanged(): void {
    this.onDiscoveryChange?.();
  }
  onDiscoveryChange: (() => void) | undefined = undefined;

  // ---- commands

  /** Sends an admin command, as `Association.command`. Without an association it ends with 370h. */
  admin(build: (request: Request) => void, done: (request: Request) => void): void {
    if (this.association !== undefined) {
      this.association.command(build, done);
      return;
    }
    const { request } = new AdminCommand(done);
    build(request);
    request.status = Status.HostPathError;
    this.env.clock.defer(() => done(request));
  }

  /** The queue for the next I/O: the one with the least to do, taking turns among equals. */
  ioQueue(): Queue | undefined {
    const connections = this.association?.io;
    const length = connections?.length ?? 0;
    if (connections === undefined || length === 0) return undefined;
    const first = this.#turn++ % length;
    let best = connections[first]!.queue;
    for (let i = 1; i < length && best.load > 0; i++) {
      const { queue } = connections[(first + i) % length]!;
      if (queue.load < best.load) best = queue;
    }
    return best;
  }

  // ---- a loss

  /** Something ended the association, or the attempt. */
  associationLost(association: Association, reason: Failure): void {
    assert(association === this.association, `${this.name}: only its present association is lost`);
    if (this.state.is('live') && !this.#first) this.recover(reason);
    else if (this.state.is('deleting')) this.#tearDown('association lost');
    else if (this.#first)
      this.#delete(this.state.is('live') ? 'association lost' : 'not set up', reason, false);
    else {
      this.reason = reason;
      this.log('warn', 'attempt failed', { attempt: this.attempts, reason: reason.message });
      this.#tearDown('association lost');
    }
  }

  /** Error recovery: what was sent is lost, and the controller is connected again after reconnect_delay. */
  recover(reason: Failure): void {
    if (!this.state.is('live')) return;
    if (this.#first) this.#delete('association lost', reason, false);
    else this.#reset('association lost', reason);
  }

  /**
   * Ends the association and connects again at once: an operator's wish, or a way out. A controller that waits for its
   * next attempt makes it now. False: it is on its way out.
   */
  reset(why: string): boolean {
    if (!this.mayReturn) return false;
    this.#soon = true;
    if (this.state.is('live')) this.#reset('reset', failure('ECONNABORTED', why));
    else if (this.state.is('connecting') && this.state.has('reconnect')) this.#attempt();
    return true;
  }

  #reset(why: CloseWhy, reason: Failure): void {
    this.reason = reason;
    this.lostAt ??= this.env.clock.now();
    this.log('warn', 'controller is lost', { why, reason: reason.message });
    this.#to('resetting', reason.message);
    this.state.after('drain', this.limits.drainTimeout, () => {
      this.log('error', 'connections that were reset do not end', { ms: this.limits.drainTimeout });
      this.#toConnecting();
    });
    this.#armDeadlines();
    this.subsystem?.controllerChanged(this);
    this.#tearDown(why);
  }

  #tearDown(why: CloseWhy): void {
    this.association?.tearDown(why);
    this.settle();
  }

  #toConnecting(): void {
    if (!this.state.is('resetting')) return;
    this.#to('connecting', this.state.why);
    this.#armDeadlines();
    this.#next();
  }

  /** Its last connection is dead on our side. */
  associationOver(association: Association): void {
    association.remote.leave(this);
    if (association !== this.association) return;
    if (this.state.is('connecting') && !this.state.has('reconnect')) this.#next();
    else this.settle();
  }

  // ---- its port

  /** The remote port goes (PORT.5, PORT.6). */
  portGone(remote: RemotePort, why: string): void {
    this.portLostAt ??= this.env.clock.now();
    const reason = failure('ENETDOWN', `its transport port, ${remote.name}, ${why}`);
    if (this.state.is('live')) this.recover(reason);
    else if (this.state.is('deleting')) this.#tearDown('port unregistered');
    else if (this.state.is('connecting') && this.association?.open === true)
      this.associationLost(this.association, reason);
    else if (this.state.is('resetting')) this.#tearDown('port unregistered');
    this.#armDeadlines();
  }

  /** A port of that name is there again: it is taken at once (PORT.7). */
  portBack(): void {
    if (!this.mayReturn || this.portLostAt === undefined) return;
    this.portLostAt = undefined;
    this.#armDeadlines();
    this.#soon = true;
    if (this.state.is('connecting') && this.state.has('reconnect')) {
      this.state.cancel('reconnect');
      this.#attempt();
    }
  }

  // ---- settings

  /** Changes how losses are dealt with, from now on: a loss that lasts is measured anew from its beginning. */
  set(changes: Partial<Recovery>): void {
    this.recovery = { ...this.recovery, ...changes };
    const changed = Object.entries(changes).map(([name, value]) => `${name} ${value}`);
    this.registry.journal.record('controller setting', this.name, this.id, changed.join(', '));
    this.#warn();
    if (this.lostAt === undefined) return;
    const late = this.env.clock.now() - this.lostAt < this.recovery.fastIoFailTmo;
    if (late && this.failedFast) {
      this.failedFast = false;
      this.subsystem?.controllerChanged(this);
    }
    this.#armDeadlines();
    if (this.state.has('reconnect') && changes.reconnectDelay !== undefined) this.#wait();
  }

  // ---- the end

  /**
   * Orderly, if it is live: I/O queues, shutdown notification, admin queue. Else at once. `done` is called when it is
   * dead, within a bound, in whatever state it is.
   */
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
    this.reason = reason;
    this.#orderly = orderly;
    this.#closeWhy = why === 'host stops' || why === 'disconnected' ? why : 'association lost';
    this.log(orderly ? 'info' : 'warn', 'controller goes', { why, reason: reason.message });
    this.#to('deleting', why);
    this.#boundDeletion();
    this.subsystem?.leave(this);
    this.subsystem?.controllerChanged(this);
    if (orderly) for (const connection of this.ioConnections) connection.close(this.#closeWhy);
    else this.association?.tearDown(this.#closeWhy);
    this.settle();
  }

  /** First politeness ends, then patience: sockets that the system does not give up are left to it. */
  #boundDeletion(): void {
    this.state.after('disconnect', this.limits.drainTimeout, () => {
      if (this.association?.open === true) {
        this.#boundDeletion();
        this.#tearDown('association lost');
        return;
      }
      this.log('error', 'connections that were reset do not end', { ms: this.limits.drainTimeout });
      this.#die();
    });
  }

  /** Does what is due on the way out, one step after the other. Idempotent. */
  settle(): void {
    const { association } = this;
    if (this.state.is('resetting') && association?.over === true) this.#toConnecting();
    if (!this.state.is('deleting')) return;
    if (association?.open === true) {
      if (association.io.some(({ state }) => !state.is('ended'))) return;
      if (this.#orderly && association.admin?.ready === true && !this.#shutdownOver) {
        if (this.#shutdown !== undefined) return;
        this.#shutdown = new Shutdown(association, (complete) => {
          association.shutDown = complete;
          this.#shutdownOver = true;
          this.settle();
        });
        this.#shutdown.start();
        return;
      }
      association.admin?.close(this.#closeWhy);
      association.settle();
    }
    if (this.state.is('deleting') && (association === undefined || association.over)) this.#die();
  }

  #die(): void {
    this.#to('dead', this.state.why);
    this.registry.forget(this);
    const connected = this.#connected;
    this.#connected = undefined;
    connected?.(this.reason);
    for (const done of this.#goneWaiters.splice(0)) done();
  }

  #to(next: ControllerState, why: string): void {
    this.state.to(next, why);
    this.registry.journal.record('controller state', this.name, this.id, `${next}: ${why}`);
  }

  log(level: Level, what: string, fields: Record<string, string | number | undefined> = {}): void {
    this.env.trace.event(level, what, { controller: this.name, subnqn: this.options.subnqn, ...fields });
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    const { association } = this;
    association?.invariants();
    // QUIESCE.4: whatever way it came to be live, nothing of an older association is left, and nothing is held back.
    if (this.state.is('live'))
      assert(association?.open === true, `${this.name}: live without an association`);
    else assert(!this.revalidating || !this.usable, `${this.name}: revalidates what is not live`);
    if (this.state.is('resetting'))
      assert(association?.open !== true, `${this.name}: resetting, but its association goes on`);
    if (this.state.is('dead', 'deleting')) assert(!this.mayReturn, `${this.name}: gone, but may return`);
    const waits = this.state.is('connecting') && association?.open !== true && association?.over !== false;
    if (waits) assert(this.state.has('reconnect'), `${this.name}: connecting, but nothing will connect it`);
  }
}
