/**
 * A controller as its host knows it: it lives through many associations, one after the other, and its name, its number
 * and its paths stay the same meanwhile. setup.ts makes an association live, scan.ts looks at its namespaces, loss.ts
 * has the time until the next one, and shutdown.ts ends the last one in order.
 */
import { assert } from '../runtime/assert.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Env, Level } from '../runtime/ports.ts';
import { sendAdmin } from './admin-command.ts';
import { Association } from './association.ts';
import { Capabilities } from './capabilities.ts';
import type { CloseWhy } from './close-why.ts';
import type { Connection } from './connection.ts';
import type { ControllerOptions } from './controller-options.ts';
import { CONTROLLER_STATES, type ControllerState, type DeleteWhy } from './controller-state.ts';
import { failure, type Failure } from './failure.ts';
import type { Limits } from './limits.ts';
import { Loss, type LossOwner } from './loss.ts';
import type { RemotePort } from './port.ts';
import { DEFAULT_RECOVERY, contradictions, type Recovery } from './recovery.ts';
import type { Registry } from './registry.ts';
import type { Request } from './request.ts';
import type { Subsystem } from './subsystem.ts';

const LOST = failure('ETIMEDOUT', 'the controller is lost');

export class Controller implements LossOwner {
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
  /** As Connect told it. */
  cntlid = 0;
  readonly capabilities = new Capabilities();

  /** Why it failed, or was lost the last time; undefined: it is well, or was told to go. */
  reason: Failure | undefined = undefined;
  /** It is lost, or was never live; undefined: it is well. */
  loss: Loss | undefined = undefined;
  /** Times that it was live. */
  connects = 0;
  /** Live, but its namespaces were not looked at in this association: no path through it is usable (QUIESCE.6). */
  revalidating = false;

  /** The next attempt is to be made without delay: it was asked for, or the port came back. */
  #soon = false;
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
    this.state = machine(this.env, this.name, CONTROLLER_STATES, 'new');
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
  get failedFast(): boolean {
    return this.loss?.failedFast ?? false;
  }
  /** Since the loss. */
  get attempts(): number {
    return this.loss?.attempts ?? 0;
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
    return this.state.is('connecting') && this.loss?.portLostAt !== undefined;
  }
  /** The first connect has not succeeded yet, and failing ends it. */
  get first(): boolean {
    return this.#connected !== undefined && this.options.keepTrying !== true;
  }

  // ---- connecting

  /** `done` is called once: when it is live and its namespaces are known, or when it is dead. */
  connect(done: (reason: Failure | undefined) => void): void {
    this.#connected = done;
    this.loss = new Loss(this);
    this.#to('connecting', 'connect');
    this.loss.arm();
    this.attempt();
  }

  attempt(): void {
    const { association } = this;
    const loss = this.loss!;
    this.#soon = false;
    if (association !== undefined && !association.over) {
      // QUIESCE.14: nothing is sent anew while a socket may still deliver the old.
      this.reason = failure('EBUSY', 'the connections of the last association are not dead yet');
      loss.wait();
      return;
    }
    const remote = this.registry.ports.resolve(this);
    if (remote === undefined) {
      // A timer that fires without a port just starts again (PORT.4); it is no attempt.
      loss.portLostAt ??= this.env.clock.now();
      this.reason = failure('ENETDOWN', this.registry.ports.absence(this));
      if (this.first) this.#delete('not connected', this.reason);
      else loss.wait();
      return;
    }
    loss.portLostAt = undefined;
    loss.attempts++;
    remote.enter(this);
    this.association = new Association(this, this.registry.nextId(), remote);
    this.association.start();
  }

  /** The attempt failed, or is not made yet: until the next one, or the end. */
  #next(): void {
    const loss = this.loss!;
    const why = this.#soon ? undefined : loss.hopeless;
    if (this.first) this.#delete('not set up', this.reason ?? LOST);
    else if (why !== undefined) this.giveUp(why);
    else if (this.#soon) this.attempt();
    else loss.wait();
  }

  giveUp(why: string): void {
    const dead = this.reason ?? LOST;
    this.log('warn', 'controller is given up', { why, attempts: this.attempts });
    this.#delete('given up', { ...dead, message: `${dead.message}; ${why}` });
  }

  failFast(): void {
    const why = 'fast_io_fail_tmo is over';
    this.log('warn', 'I/O fails from now on', { why });
    this.registry.journal.record('controller state', this.name, this.id, `failed fast: ${why}`);
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
      this.loss = undefined;
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
    if (this.first) this.#delete(why, reason);
    else if (this.revalidating) this.recover(reason);
    else return false;
    return true;
  }

  /** A namespace came, went or changed. */
  rescan(): void {
    if (this.state.is('live') && !this.discovery) this.association!.scan.start();
  }

  /** The discovery log changed, and its event is unmasked. */
  onDiscoveryChange: (() => void) | undefined = undefined;

  // ---- commands

  /** As `sendAdmin`. */
  admin(build: (request: Request) => void, done: (request: Request) => void): void {
    sendAdmin(this.association?.admin?.queue, this.env.clock, build, done);
  }

  // ---- a loss

  /** Something ended the association, or the attempt. */
  associationLost(association: Association, reason: Failure): void {
    assert(association === this.association, `${this.name}: only its present association is lost`);
    if (this.state.is('live')) this.recover(reason);
    else if (this.state.is('deleting')) this.#tearDown('association lost');
    else if (this.first) this.#delete('not set up', reason);
    else {
      this.reason = reason;
      this.log('warn', 'attempt failed', { attempt: this.attempts, reason: reason.message });
      this.#tearDown('association lost');
    }
  }

  /** Error recovery: what was sent is lost, and the controller is connected again after reconnect_delay. */
  recover(reason: Failure): void {
    if (!this.state.is('live')) return;
    if (this.first) this.#delete('association lost', reason);
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
    else if (this.loss?.waits === true) this.attempt();
    return true;
  }

  #reset(why: CloseWhy, reason: Failure): void {
    this.reason = reason;
    this.loss ??= new Loss(this);
    this.log('warn', 'controller is lost', { why, reason: reason.message });
    this.#to('resetting', reason.message);
    this.state.after('drain', this.limits.drainTimeout, () => {
      this.log('error', 'connections that were reset do not end', { ms: this.limits.drainTimeout });
      this.#toConnecting();
    });
    this.loss.arm();
    this.subsystem?.controllerChanged(this);
    this.#tearDown(why);
  }

  #tearDown(why: CloseWhy): void {
    this.association?.tearDown(why);
    this.#settle();
  }

  #toConnecting(): void {
    if (!this.state.is('resetting')) return;
    this.#to('connecting', this.state.why);
    this.loss!.arm();
    this.#next();
  }

  /** Its last connection is dead on our side. */
  associationOver(association: Association): void {
    this.registry.ports.associationOver(association.remote, this);
    if (this.state.is('connecting') && this.loss?.waits !== true) this.#next();
    else this.#settle();
  }

  // ---- its port

  /** The remote port goes (PORT.5, PORT.6). */
  portGone(remote: RemotePort, why: string): void {
    if (this.mayReturn) this.loss ??= new Loss(this);
    if (this.loss !== undefined) this.loss.portLostAt ??= this.env.clock.now();
    const { association } = this;
    const reason = failure('ENETDOWN', `its transport port, ${remote.name}, ${why}`);
    if (this.state.is('live')) this.recover(reason);
    else if (this.state.is('deleting', 'resetting')) this.#tearDown('port unregistered');
    else if (association?.open === true) this.associationLost(association, reason);
    this.loss?.arm();
  }

  /** A port of that name is there again: it is taken at once (PORT.7). */
  portBack(): void {
    const { loss } = this;
    if (!this.mayReturn || loss?.portLostAt === undefined) return;
    loss.portLostAt = undefined;
    loss.arm();
    this.#soon = true;
    if (!loss.waits) return;
    this.state.cancel('reconnect');
    this.attempt();
  }

  // ---- settings

  /** Changes how losses are dealt with, from now on: a loss that lasts is measured anew from its beginning. */
  set(changes: Partial<Recovery>): void {
    this.recovery = { ...this.recovery, ...changes };
    const changed = Object.entries(changes).map(([name, value]) => `${name} ${value}`);
    this.registry.journal.record('controller setting', this.name, this.id, changed.join(', '));
    this.#warn();
    const { loss } = this;
    if (loss === undefined) return;
    if (loss.calmsDown()) this.subsystem?.controllerChanged(this);
    loss.arm();
    if (loss.waits && changes.reconnectDelay !== undefined) loss.wait();
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
    this.#delete(why, reason);
  }

  #delete(why: DeleteWhy, reason: Failure): void {
    const wanted = why === 'host stops' || why === 'disconnected';
    const orderly = wanted && this.state.is('live');
    const closeWhy = wanted ? why : 'association lost';
    this.reason = reason;
    this.log(orderly ? 'info' : 'warn', 'controller goes', { why, reason: reason.message });
    this.#to('deleting', why);
    this.#boundDeletion();
    this.subsystem?.controllerChanged(this);
    if (orderly) this.association?.leave(closeWhy);
    else this.association?.tearDown(closeWhy);
    this.#settle();
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

  /** Goes on when its association is over. Idempotent. */
  #settle(): void {
    if (this.association?.over === false) return;
    if (this.state.is('resetting')) this.#toConnecting();
    else if (this.state.is('deleting')) this.#die();
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
    if (waits) assert(this.loss?.waits === true, `${this.name}: connecting, but nothing will connect it`);
  }
}
