/**
 * Follows discovery services: stays connected to one, reads its log again whenever that changes, goes on to those that
 * it refers to, and connects what the logs name. What disappears from them is kept, or disconnected after a while.
 *
 * Every event is a fact that is noted; `settle` compares what is with what is wanted, and does what is due. A service
 * that cannot be reached says nothing: what its last log named stays wanted.
 */
import { viewOf } from '../layout/struct.ts';
import { DiscoveryEntry, Sectype, Subtype, Trtype, addressText } from '../nvme/discovery.ts';
import { nqnProblem } from '../nvme/nqn.ts';
import { assert } from '../runtime/assert.ts';
import type { Address, Timer } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import type { ControllerOptions } from './controller-options.ts';
import { DiscoveryReader, type DiscoveryLog } from './discovery.ts';
import type { Registry } from './registry.ts';

/** Where a record leads. */
export interface Destination {
  readonly kind: 'service' | 'subsystem';
  readonly address: Address;
  readonly subnqn: string;
}

export interface FollowOptions {
  /** The service that is followed first: a discovery controller with a KATO, or its log would change unseen. */
  readonly service: ControllerOptions;
  /** How a destination of a log is connected; undefined: it is not. */
  readonly connect: (destination: Destination) => ControllerOptions | undefined;
  /** Milliseconds after which what has disappeared from every log is disconnected; Infinity: it is kept. */
  readonly disconnectAfter: number;
}

const keyOf = ({ address, subnqn }: Pick<Destination, 'address' | 'subnqn'>): string =>
  `${address.host} ${address.port} ${subnqn}`;

/** The destinations of a log that can be gone to, each once; the rest is counted. */
export function destinations(log: DiscoveryLog): { found: Destination[]; unusable: number } {
  const found = new Map<string, Destination>();
  let unusable = 0;
  for (const record of log.records) {
    const entry = DiscoveryEntry.decode(viewOf(record));
    const host = addressText(entry.traddr);
    const port = addressText(entry.trsvcid);
    const subnqn = addressText(entry.subnqn);
    const kind =
      entry.subtype === Subtype.Nvm
        ? 'subsystem'
        : entry.subtype === Subtype.Referral
          ? 'service'
          : undefined;
    const tcp = entry.trtype === Trtype.Tcp && entry.sectype === Sectype.None;
    const good = /^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65536 && host !== '';
    if (kind === undefined) continue;
    if (!tcp || !good || nqnProblem(subnqn) !== undefined) {
      unusable++;
      continue;
    }
    const destination: Destination = { kind, address: { host, port: Number(port) }, subnqn };
    found.set(`${kind} ${keyOf(destination)}`, destination);
  }
  return { found: [...found.values()], unusable };
}

/** A discovery service. */
interface Service {
  readonly key: string;
  readonly options: ControllerOptions;
  controller: Controller | undefined;
  /** Its log is to be read; it is being read. */
  stale: boolean;
  reading: boolean;
  /** As it was read last. */
  log: readonly Destination[];
  genctr: number;
  /** Until it is tried again. */
  retry: Timer | undefined;
}

/** A controller that a log asks for. */
interface Followed {
  readonly key: string;
  readonly options: ControllerOptions;
  /** Made by us, or found; undefined: there is none. */
  controller: Controller | undefined;
  /** We made it, and may end it. */
  ours: boolean;
  /** Somebody disconnected it: it is left alone until it has been away from the logs. */
  leftAlone: boolean;
  /** No log names it any more. */
  missing: boolean;
  /** Until it is tried again, or disconnected. */
  timer: Timer | undefined;
}

export class Follower {
  readonly #registry: Registry;
  readonly #options: FollowOptions;
  readonly #services = new Map<string, Service>();
  readonly #followed = new Map<string, Followed>();
  readonly #root: string;
  #unlisten: (() => void) | undefined = undefined;
  #state: 'idle' | 'following' | 'stopped' = 'idle';
  #due = false;

  constructor(registry: Registry, options: FollowOptions) {
    this.#registry = registry;
    this.#options = options;
    this.#root = keyOf(options.service);
  }

  start(): void {
    assert(this.#state === 'idle', 'a follower is started once');
    this.#state = 'following';
    this.#unlisten = this.#registry.journal.listen(({ kind, id }) => {
      if (kind === 'controller removed' || kind === 'controller state') this.#changed(id);
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
    for (const service of [...this.#services.values()]) {
      left++;
      this.#dropService(service, gone);
    }
    for (const each of this.#followed.values()) each.timer?.cancel();
    this.#followed.clear();
    gone();
  }

  /** What it follows, as plain data. */
  describe(): {
    services: { name: string | undefined; subnqn: string; traddr: string; trsvcid: string; genctr: number }[];
    followed: { name: string | undefined; subnqn: string; traddr: string; trsvcid: string; why: string }[];
  } {
    const place = ({ address, subnqn }: ControllerOptions) => ({
      subnqn,
      traddr: address.host,
      trsvcid: String(address.port),
    });
    return {
      services: [...this.#services.values()].map(({ controller, options, genctr }) => ({
        name: controller?.name,
        ...place(options),
        genctr,
      })),
      followed: [...this.#followed.values()].map((each) => ({
        name: each.controller?.name,
        ...place(each.options),
        why: this.#why(each),
      })),
    };
  }

  #why({ missing, leftAlone, controller, timer }: Followed): string {
    if (missing)
      return timer === undefined ? 'no log names it, it is kept' : 'no log names it, it will be disconnected';
    if (leftAlone) return 'somebody disconnected it';
    if (controller !== undefined) return 'a log names it';
    return timer === undefined ? 'it is not wanted' : 'it cannot be connected, and is tried again';
  }

  // ---- facts

  /** A controller with this id is in another state, or gone. */
  #changed(id: number): void {
    for (const service of this.#services.values())
      if (service.controller?.id === id) {
        if (service.controller.state.is('live')) service.stale = true;
        this.#later();
      }
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
    for (const service of [...this.#services.values()]) this.#settleService(service);
    const wanted = this.#reach();
    for (const [key, destination] of wanted) if (!this.#followed.has(key)) this.#follow(key, destination);
    for (const each of [...this.#followed.values()]) this.#settleFollowed(each, wanted.has(each.key));
  }

  #settleService(service: Service): void {
    const { controller } = service;
    if (controller?.state.is('dead') === true) {
      service.controller = undefined;
      service.reading = false;
    }
    if (service.controller === undefined) {
      if (service.retry === undefined) this.#connectService(service);
    } else if (service.stale && !service.reading && service.controller.state.is('live'))
      this.#read(service, service.controller);
  }

  #connectService(service: Service): void {
    const { env, limits } = this.#registry;
    service.retry = env.clock.timer(`discovery ${service.key}: tries again`, limits.followRetry, () => {
      service.retry = undefined;
      this.#later();
    });
    const controller = this.#registry.connect(service.options, () => this.#later());
    service.controller = controller;
    if (controller !== undefined)
      controller.onDiscoveryChange = () => {
        service.stale = true;
        this.#later();
      };
  }

  #read(service: Service, controller: Controller): void {
    service.stale = false;
    service.reading = true;
    new DiscoveryReader(controller, (reason, log) => {
      if (service.controller !== controller) return;
      service.reading = false;
      if (log === undefined) {
        controller.log('warn', 'the discovery log cannot be read', { why: reason?.message });
        // A controller that is lost will be live again, and read; one that goes on is asked later.
        controller.state.after('reads the discovery log again', this.#registry.limits.rescanDelay, () => {
          service.stale = true;
          this.#later();
        });
        return;
      }
      const { found, unusable } = destinations(log);
      service.log = found;
      service.genctr = log.genctr;
      const what = `${found.length} destinations, ${unusable} that cannot be used, GENCTR ${log.genctr}`;
      this.#registry.journal.record('discovery', controller.name, controller.id, what);
      this.#later();
    }).start();
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
        const to = keyOf(destination);
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
    for (const service of [...this.#services.values()])
      if (!seen.has(service.key)) this.#dropService(service, () => undefined);
    return wanted;
  }

  #addService(key: string, options: ControllerOptions): void {
    this.#services.set(key, {
      key,
      options,
      controller: undefined,
      stale: true,
      reading: false,
      log: [],
      genctr: 0,
      retry: undefined,
    });
    this.#later();
  }

  #dropService(service: Service, done: () => void): void {
    this.#services.delete(service.key);
    service.retry?.cancel();
    if (service.controller === undefined) done();
    else service.controller.disconnect('disconnected', done);
    service.controller = undefined;
  }

  // ---- what the logs name

  #follow(key: string, destination: Destination): void {
    const options = this.#options.connect(destination);
    if (options === undefined) return;
    const known = this.#registry.find(options);
    const each: Followed = {
      key,
      options,
      controller: known,
      ours: known === undefined,
      leftAlone: false,
      missing: false,
      timer: undefined,
    };
    this.#followed.set(key, each);
  }

  #settleFollowed(each: Followed, wanted: boolean): void {
    const { controller } = each;
    if (controller?.state.is('dead') === true) {
      each.controller = undefined;
      each.leftAlone ||= controller.reason?.code === 'ECANCELED' && !each.missing;
    }
    if (!wanted) this.#missing(each);
    else if (each.missing) {
      each.missing = false;
      each.leftAlone = false;
      this.#stopTimer(each);
    }
    if (wanted && each.controller === undefined && !each.leftAlone && each.timer === undefined)
      this.#connect(each);
  }

  #missing(each: Followed): void {
    if (!each.missing) {
      each.missing = true;
      this.#stopTimer(each);
      const { disconnectAfter } = this.#options;
      if (disconnectAfter !== Infinity && each.ours && each.controller !== undefined)
        each.timer = this.#timer(each, 'disconnects what no log names', disconnectAfter, () => {
          each.controller?.disconnect('disconnected', () => undefined);
        });
    }
    if (each.controller !== undefined) return;
    this.#stopTimer(each);
    this.#followed.delete(each.key);
  }

  #connect(each: Followed): void {
    each.timer = this.#timer(each, 'tries again', this.#registry.limits.followRetry, () => this.#later());
    each.ours = true;
    const known = this.#registry.find(each.options);
    each.controller = known ?? this.#registry.connect(each.options, () => this.#later());
    if (known !== undefined) each.ours = false;
  }

  #timer(each: Followed, what: string, ms: number, then: () => void): Timer {
    return this.#registry.env.clock.timer(`discovery ${each.key}: ${what}`, ms, () => {
      each.timer = undefined;
      then();
    });
  }

  #stopTimer(each: Followed): void {
    each.timer?.cancel();
    each.timer = undefined;
  }
}
