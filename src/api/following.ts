/** The public promise of discovery-driven connections: `host.follow`. */
import { availableParallelism } from 'node:os';
import type { ControllerOptions } from '../initiator/controller-options.ts';
import type { Destination } from '../initiator/destination.ts';
import { Follower, type FollowOptions as FollowerOptions } from '../initiator/follow.ts';
import type { HostIdentity } from '../initiator/identity.ts';
import type { Registry } from '../initiator/registry.ts';
import {
  type AddressOptions,
  type ConnectOptions,
  controllerOptions,
  discoveryOptions,
  recoveryOptions,
  whole,
} from './connect-options.ts';
import { NvmeError } from './error.ts';
import { invalid } from './failure.ts';

/** How each subsystem is connected that a discovery log names: everything but where it is, and as whom. */
export type FollowedOptions = Omit<
  ConnectOptions,
  'traddr' | 'trsvcid' | 'subnqn' | 'hostnqn' | 'hostid' | 'ways' | 'signal' | 'keep_trying'
>;

/** The address is the discovery service's; `keep_alive_tmo` is 30 s unless it is said, and not 0. */
export interface FollowOptions extends AddressOptions {
  /** How what the logs name is connected. Its recovery options count for the services too. */
  readonly connect?: FollowedOptions | undefined;
  /** NQNs that may be connected. Default: all that the logs name. */
  readonly only?: readonly string[] | undefined;
  /** Seconds after which a controller is disconnected that no log names any more; -1, the default: it is kept. */
  readonly disconnect_after?: number | undefined;
}

/** Something that is followed. */
export interface FollowedPlace {
  /** Its controller, `nvme2`; undefined: there is none now. */
  readonly name: string | undefined;
  readonly subnqn: string;
  readonly traddr: string;
  readonly trsvcid: string;
}

/** Seconds. Without a keep-alive a service that is gone would not be noticed, nor a change of its log. */
const KEEP_ALIVE = 30;

/** Follows a discovery service and those that it refers to, until it is stopped or the host is closed. */
export class NvmeFollowing {
  readonly #follower: Follower;
  readonly #among: Set<NvmeFollowing>;
  readonly #signal: AbortSignal | undefined;
  #stopped: Promise<void> | undefined = undefined;

  /** Made by `host.follow`. It is `among` the others until it is stopped. Throws EINVAL. */
  constructor(registry: Registry, options: FollowOptions, identity: HostIdentity, among: Set<NvmeFollowing>) {
    this.#among = among;
    this.#signal = options.signal;
    this.#follower = new Follower(registry, followPolicy(registry, options, identity));
    this.#follower.start();
    among.add(this);
    if (this.#signal?.aborted === true) this.#abort();
    else this.#signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** The discovery services: the first one, and those that the logs refer to. `genctr`: of the log that was read last. */
  get services(): (FollowedPlace & { readonly genctr: number })[] {
    return this.#follower.describe().services;
  }

  /** What the logs name, or named; `why` it is connected or not, as words. */
  get followed(): (FollowedPlace & { readonly why: string })[] {
    return this.#follower.describe().followed;
  }

  /** Leaves the services. What was connected stays. Resolves when they are left; a second call joins the first. */
  stop(): Promise<void> {
    this.#stopped ??= new Promise((resolve) => {
      this.#signal?.removeEventListener('abort', this.#abort);
      this.#follower.stop(resolve);
      this.#among.delete(this);
    });
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  readonly #abort = (): void => void this.stop();
}

/** In the core's terms; everything that an option can be wrong about shows here. Throws EINVAL. */
export function followPolicy(
  registry: Registry,
  options: FollowOptions,
  identity: HostIdentity,
): FollowerOptions {
  const { connect = {}, only, disconnect_after = -1, keep_alive_tmo = KEEP_ALIVE } = options;
  if (keep_alive_tmo === 0) throw invalid('keep_alive_tmo 0: a service that is gone would not be noticed');
  const service: ControllerOptions = {
    ...discoveryOptions({ ...options, keep_alive_tmo }, identity),
    recovery: recoveryOptions(connect),
    keepTrying: true,
  };
  const subsystem = (to: Pick<FollowedPlace, 'traddr' | 'trsvcid' | 'subnqn'>): ControllerOptions =>
    controllerOptions(
      { ...connect, ...to, keep_trying: true },
      identity,
      registry.limits,
      availableParallelism(),
    );
  // What is wrong with `connect` shows here, and not when a log names something.
  subsystem({ traddr: '127.0.0.1', trsvcid: '4420', subnqn: 'nqn.2014-08.org.nvmexpress:any' });
  return {
    service,
    disconnectAfter:
      disconnect_after === -1 ? Infinity : whole('disconnect_after', disconnect_after, 0, 2 ** 31 - 1) * 1000,
    connect: ({ kind, address, subnqn }: Destination): ControllerOptions | undefined => {
      if (kind === 'service') return { ...service, address, subnqn };
      if (only !== undefined && !only.includes(subnqn)) return undefined;
      try {
        return subsystem({ traddr: address.host, trsvcid: String(address.port), subnqn });
      } catch (error) {
        // A log may say anything.
        if (!(error instanceof NvmeError)) throw error;
        const fields = { traddr: address.host, subnqn, why: error.message };
        registry.env.trace.event('warn', 'what a discovery log names cannot be connected', fields);
        return undefined;
      }
    },
  };
}
