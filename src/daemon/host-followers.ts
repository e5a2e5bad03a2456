/** The discovery services that a host daemon follows, or asks once. */
import { refusal } from '../api/answer.ts';
import { type DiscoveryRecord, asksForTls } from '../api/discovery.ts';
import { NvmeError } from '../api/error.ts';
import { type FollowOptions, followPolicy } from '../api/following.ts';
import type { HostParts, NvmeHost } from '../api/host.ts';
import type { Controller } from '../initiator/controller.ts';
import { Follower, type FollowOptions as FollowerOptions } from '../initiator/follow.ts';
import type { Registry } from '../initiator/registry.ts';
import type { Env } from '../runtime/ports.ts';
import type { ConnectionEntry, FollowEntry } from './host-document.ts';

const stopped = (follower: Follower): Promise<void> => new Promise((resolve) => follower.stop(resolve));

/** What is said of the service counts for what it names, too; but where it is, and as whom. */
function optionsOf({ disconnect_after, ...entry }: FollowEntry): FollowOptions {
  const { traddr, trsvcid, hostnqn, hostid, ...connect } = entry;
  return { ...connect, traddr, trsvcid, hostnqn, hostid, connect, disconnect_after };
}

export class HostFollowers {
  readonly #env: Env;
  readonly #host: NvmeHost;
  readonly #registry: Registry;
  readonly #identity: HostParts['identity'];
  readonly #following = new Map<Follower, FollowEntry>();
  #stopping = false;

  constructor(env: Env, host: NvmeHost, registry: Registry, identity: HostParts['identity']) {
    this.#env = env;
    this.#host = host;
    this.#registry = registry;
    this.#identity = identity;
  }

  /** To be remembered. */
  get entries(): FollowEntry[] {
    return [...this.#following.values()];
  }

  describe(): ReturnType<Follower['describe']>[] {
    return [...this.#following.keys()].map((each) => each.describe());
  }

  /** Rejects with EINVAL. */
  async check(entry: FollowEntry): Promise<FollowerOptions> {
    return followPolicy(this.#registry, optionsOf(entry), await this.#identity(entry));
  }

  /** False: the service is followed already. Rejects with EINVAL. */
  async follow(entry: FollowEntry): Promise<boolean> {
    const { address } = (await this.check(entry)).service;
    for (const { services } of this.describe())
      if (services[0]?.traddr === address.host && services[0].trsvcid === String(address.port)) return false;
    await this.start(entry);
    return true;
  }

  async start(entry: FollowEntry): Promise<void> {
    const options = await this.check(entry);
    if (this.#stopping) throw refusal('ECANCELED', 'the daemon stops');
    const follower = new Follower(this.#registry, options);
    this.#following.set(follower, entry);
    follower.start();
  }

  /** Those whose service is among these controllers are forgotten at once; resolves when they have stopped. */
  async leave(controllers: readonly Controller[]): Promise<void> {
    const found = [...this.#following.keys()].filter((follower) => {
      const names = new Set(follower.describe().services.map(({ name }) => name));
      return controllers.some(({ discovery, name }) => discovery && names.has(name));
    });
    for (const follower of found) this.#following.delete(follower);
    await Promise.all(found.map(stopped));
  }

  /** All of them. */
  async leaveAll(): Promise<void> {
    const all = [...this.#following.keys()];
    this.#following.clear();
    await Promise.all(all.map(stopped));
  }

  /** The end of the daemon: none is forgotten. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#following.keys()].map(stopped));
  }

  /**
   * Everything that a discovery service and those that it refers to name, once; `secured`: those of them that let in
   * nobody without TLS.
   */
  async discover(
    entry: Omit<ConnectionEntry, 'subnqn'>,
  ): Promise<{ found: ConnectionEntry[]; secured: ConnectionEntry[] }> {
    const found = new Map<string, ConnectionEntry>();
    const secured = new Map<string, ConnectionEntry>();
    const asked = new Set<string>();
    const services: { traddr: string; trsvcid?: string }[] = [
      { traddr: entry.traddr, ...(entry.trsvcid !== undefined && { trsvcid: entry.trsvcid }) },
    ];
    for (const service of services) {
      const key = `${service.traddr} ${service.trsvcid ?? ''}`;
      if (asked.has(key) || asked.size >= this.#registry.limits.discoveryServices) continue;
      asked.add(key);
      let records: readonly DiscoveryRecord[];
      try {
        ({ records } = await this.#host.discover({ ...entry, ...service }));
      } catch (error) {
        // The first one has to answer; of the others the rest is connected all the same.
        if (asked.size === 1 || !(error instanceof NvmeError)) throw error;
        const fields = { traddr: service.traddr, trsvcid: service.trsvcid, why: error.message };
        this.#env.trace.event('warn', 'a discovery service does not answer', fields);
        continue;
      }
      for (const record of records) {
        const { subtype, trtype, traddr, trsvcid, subnqn } = record;
        if (trtype !== 'tcp') continue;
        const closed = asksForTls(record);
        if (subtype === 'nvme subsystem') {
          const named = { ...entry, traddr, trsvcid, subnqn };
          (closed ? secured : found).set(`${traddr} ${trsvcid} ${subnqn}`, named);
        } else if (subtype === 'discovery subsystem referral' && !closed) services.push({ traddr, trsvcid });
      }
    }
    return { found: [...found.values()], secured: [...secured.values()] };
  }
}
