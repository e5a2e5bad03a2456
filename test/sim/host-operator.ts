/** What the operator of a host does to its controllers, its ports and its heads. */
import type { Controller } from '../../src/initiator/controller.ts';
import type { HostMachine, Way } from './host-machine.ts';
import { TCP_PORT } from './target-machine.ts';
import { WatchedNet } from './watched-net.ts';

/** Values that are set for delayed_removal_secs, seconds. */
const DELAYS = [0, 1, 10] as const;

export class HostOperator {
  readonly #host: HostMachine;
  readonly #discovery = new Set<Controller>();

  constructor(host: HostMachine) {
    this.#host = host;
  }

  get #on(): boolean {
    return this.#host.state === 'on';
  }

  #broken(rule: string, text: string): void {
    const { world, name } = this.#host;
    world.violation(rule, `${name}: ${text}`, [name]);
  }

  #after(what: string, micros: number, fire: () => void): void {
    const { world, name } = this.#host;
    world.clock.after(`${name}: ${what}`, micros, fire);
  }

  /** Takes one of the controllers away; it will be connected again. */
  disconnect(way: Way): void {
    way.controller?.disconnect('disconnected', () => undefined);
  }

  /** As `disconnect`, and it does not come back before `ms` are over. */
  stayAway(way: Way, ms: number): void {
    way.notBefore = this.#host.world.clock.micros + ms * 1000;
    this.disconnect(way);
  }

  reset(way: Way): void {
    way.controller?.reset('asked for');
  }

  /** Connects a controller of the discovery service for a while. */
  discover(way: Way, ms: number): void {
    const controller = this.#on ? this.#host.discover(way) : undefined;
    if (controller === undefined) return;
    this.#discovery.add(controller);
    this.#after('has read the discovery log', ms * 1000, () => this.#forget(controller));
  }

  #forget(controller: Controller): void {
    if (this.#discovery.delete(controller)) controller.disconnect('disconnected', () => undefined);
  }

  /** Undoes what would undo itself later. */
  heal(): void {
    for (const controller of this.#discovery) this.#forget(controller);
  }

  /** Sets delayed_removal_secs of the heads that there are; with 0, those that wait go at once (HEAD.11). */
  setDelayedRemoval(way: Way, which: number): void {
    const secs = DELAYS[which % DELAYS.length]!;
    for (const head of [...(this.#host.registry.subsystem(way.nqn)?.heads ?? [])]) {
      const waits = head.state.is('orphaned');
      head.setDelayedRemoval(secs);
      if (secs !== 0 || !waits) {
        if (waits) this.#host.world.mark('HEAD.1 changed while the timer runs');
        continue;
      }
      const { requeued, held, delayed } = head.traffic.waiting;
      // Controllers still list it: it stays, but nobody waits for it (ANA persistent loss).
      if (!(head.gone || head.state.is('lost')) || requeued + held + delayed > 0)
        this.#broken(
          'HEAD.11',
          `${head.name} is ${head.state.now} with ${requeued + held + delayed} commands, and waits 0 s`,
        );
    }
  }

  /**
   * Takes a controller away, and connects it so that its path comes when the head's time is over: as long before as
   * connecting took the last time, give or take `offset` microseconds (HEAD.10).
   */
  returnWithTimer(way: Way, offset: number): void {
    const { world, registry } = this.#host;
    const { controller } = way;
    if (!this.#on || controller?.state.is('live') !== true) return;
    way.notBefore = Infinity;
    this.disconnect(way);
    const due = registry
      .subsystem(way.nqn)
      ?.heads.find(({ state }) => state.is('orphaned'))
      ?.state.timers()[0]?.due;
    const at = due === undefined ? 0 : Math.round(due * 1000) - way.took + offset;
    this.#after('connects in time', Math.max(0, at - world.clock.micros), () => {
      way.notBefore = 0;
      const free = way.controller === undefined || way.controller.state.is('dead');
      if (this.#on && free) this.#host.connect(way);
    });
  }

  /**
   * The remote port of a way goes, and returns; with its local port, sockets and all, if `local`. It is unregistered
   * `calls` times, one now and the others after `between` milliseconds each (PORT.10).
   */
  portAway(way: Way, local: boolean, ms: number, calls: number, between: number): void {
    const host = this.#host;
    const { world, name, registry } = host;
    const { ports } = registry;
    const remote = ports.remotes.find(
      ({ address, state }) => address.host === way.address && state === 'online',
    );
    if (remote === undefined) return;
    const port = local ? remote.local : remote;
    const { net } = remote.local;
    const since = world.clock.micros;
    /** The event in which each call was answered. */
    const gone: number[] = [];
    const remove = (): void => {
      if (port.state === 'unregistering') world.mark('PORT.10 unregistered twice');
      const done = (): void => {
        gone.push(world.clock.events);
        // Its driver may be gone; the host's own sockets are always there.
        if (local && net instanceof WatchedNet && net !== registry.env.net) net.unloaded = true;
      };
      if (local) ports.removeLocal(remote.local, done);
      else ports.removeRemote(remote, done);
    };
    let asked = 0;
    for (let i = 0; i < calls; i++)
      this.#after('unregisters a port', i * between * 1000, () => {
        if (host.registry !== registry || host.state === 'off') return;
        const joins = port.state === 'unregistering';
        if (port.state === 'online' || joins) asked++;
        remove();
        if (port.state === 'gone' && gone.length === 0)
          this.#broken('PORT.10', `${remote.name} is gone, and who unregisters it is not told`);
      });
    this.#after(`port of ${way.address} returns`, ms * 1000, () => {
      if (host.registry !== registry || !this.#on) return;
      const pending = port.state === 'unregistering';
      const again = local
        ? ports.addLocal(name, host.newNet(registry))
        : ports.addRemote(name, { host: way.address, port: TCP_PORT });
      if (pending) world.mark('PORT.10 registered while it was unregistered');
      if (again.state !== 'online' || (port.state !== 'online' && again.id === port.id))
        this.#broken('PORT.10', `${remote.name} was registered, and is of the old generation`);
    });
    // PORT.2: bounded by what the transport needs to end.
    this.#after(`port of ${way.address} is gone`, world.bounds.port * 1000, () => {
      if (asked > 0 && gone.length === 0)
        this.#broken(
          'PORT.2',
          `the port to ${way.address} was unregistered at ${since} µs and is still ${remote.state}`,
        );
      else if (new Set(gone.slice(0, asked)).size > 1)
        this.#broken('PORT.10', `${asked} calls joined to unregister ${remote.name}, and ended apart`);
    });
  }
}
