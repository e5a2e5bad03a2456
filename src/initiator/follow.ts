/**
 * Follows discovery services: goes on from one to those that it refers to, and connects what their logs name. What
 * disappears from them is kept, or disconnected after a while.
 *
 * Every event is a fact that is noted; `settle` compares what is with what is wanted, and does what is due.
 */
import { assert } from '../runtime/assert.ts';
import type { ControllerOptions } from './controller-options.ts';
import { placeOf, type Destination } from './destination.ts';
import { DiscoveryService } from './discovery-service.ts';
import { Followed } from './followed.ts';
import type { Registry } from './registry.ts';

export interface FollowOptions {
  /** The service that is followed first: a discovery controller with a KATO, or its log would change unseen. */
  readonly service: ControllerOptions;
  /** How a destination of a log is connected; undefined: it is not. */
  readonly connect: (destination: Destination) => ControllerOptions | undefined;
  /** Milliseconds after which what has disappeared from every log is disconnected; Infinity: it is kept. */
  readonly disconnectAfter: number;
}

/** A service or a controller, as plain data. */
interface Place {
  readonly name: string | undefined;
  readonly subnqn: string;
  readonly traddr: string;
  readonly trsvcid: string;
}

const describe = ({ controller, options }: DiscoveryService | Followed): Place => ({
  name: controller?.name,
  subnqn: options.subnqn,
  traddr: options.address.host,
  trsvcid: String(options.address.port),
});

export class Follower {
  readonly #registry: Registry;
  readonly #options: FollowOptions;
  readonly #services = new Map<string, DiscoveryService>();
  readonly #followed = new Map<string, Followed>();
  readonly #root: string;
  #unlisten: (() => void) | undefined = undefined;
  #state: 'idle' | 'following' | 'stopped' = 'idle';
  #due = false;

  constructor(registry: Registry, options: FollowOptions) {
    this.#registry = registry;
    this.#options = options;
    this.#root = placeOf(options.service);
  }

  start(): void {
    assert(this.#state === 'idle', 'a follower is started once');
    this.#state = 'following';
    this.#unlisten = this.#registry.journal.listen(({ kind, id }) => {
      if (kind === 'controller removed' || kind === 'controller state') this.#controllerChanged(id);
    });
    this.#addService(this.#root, this.#options.service);
    this.#settle();
  }

  /** Leaves the services. What was connected stays; `done` is called when the services are left. */
  stop(done: () => void): void {
    this.#state = 'stopped';
    this.#unlisten?.();
    let left = 1;
    const gone = (): void => {
      if (--left === 0) done();
    };
    for (const service of this.#services.values()) {
      left++;
      service.leave(gone);
    }
    this.#services.clear();
    for (const each of this.#followed.values()) each.stop();
    this.#followed.clear();
    gone();
  }

  /** What it follows, as plain data. */
  describe(): {
    services: (Place & { readonly genctr: number })[];
    followed: (Place & { readonly why: string })[];
  } {
    return {
      services: [...this.#services.values()].map((each) => ({ ...describe(each), genctr: each.genctr })),
      followed: [...this.#followed.values()].map((each) => ({ ...describe(each), why: each.why })),
    };
  }

  // ---- facts

  #controllerChanged(id: number): void {
    for (const service of this.#services.values())
      if (service.controller?.id === id) service.controllerChanged();
    for (const each of this.#followed.values()) if (each.controller?.id === id) this.#later();
  }

  /** Not inside the call that told. */
  #later(): void {
    if (this.#due) return;
    this.#due = true;
    this.#registry.env.clock.defer(() => {
      this.#due = false;
      this.#settle();
    });
  }

  // ---- what is due

  /** Idempotent. */
  #settle(): void {
    if (this.#state !== 'following') return;
    for (const service of [...this.#services.values()]) service.settle();
    const wanted = this.#reach();
    for (const [key, destination] of wanted) if (!this.#followed.has(key)) this.#follow(key, destination);
    for (const each of [...this.#followed.values()])
      if (each.settle(wanted.has(each.key), this.#options.disconnectAfter)) this.#followed.delete(each.key);
  }

  /**
   * What the logs name, from the first service on: each service once, whoever refers to it (so that a loop of referrals
   * ends), and at most so many. Services that nobody refers to any more are left.
   */
  #reach(): Map<string, Destination> {
    const { limits } = this.#registry;
    const wanted = new Map<string, Destination>();
    const seen = new Set([this.#root]);
    for (const key of seen) {
      for (const destination of this.#services.get(key)?.log ?? []) {
        const to = placeOf(destination);
        if (destination.kind === 'subsystem') {
          if (wanted.size < limits.followed) wanted.set(to, destination);
          continue;
        }
        if (seen.has(to) || seen.size >= limits.discoveryServices) continue;
        const options = this.#services.has(to) ? undefined : this.#options.connect(destination);
        if (options !== undefined) this.#addService(to, options);
        if (this.#services.has(to)) seen.add(to);
      }
    }
    for (const [key, service] of this.#services)
      if (!seen.has(key)) {
        this.#services.delete(key);
        service.leave(() => undefined);
      }
    return wanted;
  }

  #addService(key: string, options: ControllerOptions): void {
    this.#services.set(key, new DiscoveryService(this.#registry, key, options, () => this.#later()));
    this.#later();
  }

  #follow(key: string, destination: Destination): void {
    const options = this.#options.connect(destination);
    if (options !== undefined)
      this.#followed.set(key, new Followed(this.#registry, key, options, () => this.#later()));
  }
}
