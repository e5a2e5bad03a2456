/** The public promise of the host side: `createHost`. */
import { readFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DiscoveryReader, type DiscoveryLog } from '../initiator/discovery.ts';
import type { Controller } from '../initiator/controller.ts';
import type { ControllerOptions } from '../initiator/controller-options.ts';
import { failure, type Failure } from '../initiator/failure.ts';
import { type HostIdentity, type IdentitySource, resolveIdentity, uuidOf } from '../initiator/identity.ts';
import type { Limits } from '../initiator/limits.ts';
import { Registry } from '../initiator/registry.ts';
import type { Subsystem } from '../initiator/subsystem.ts';
import { nodeEnv } from '../runtime/node/env.ts';
import type { Logger } from '../runtime/node/trace.ts';
import type { Env } from '../runtime/ports.ts';
import { answer } from './answer.ts';
import { type ChangesOptions, HostChanges } from './changes.ts';
import {
  type AddressOptions,
  type ConnectOptions,
  controllerOptions,
  discoveryOptions,
} from './connect-options.ts';
import { discoveryRecord, type DiscoveryRecord } from './discovery.ts';
import { NvmeError } from './error.ts';
import { abortError, failureError, invalid } from './failure.ts';
import { NvmeDisk, headOf } from './disk.ts';
import { type FollowOptions, NvmeFollowing } from './following.ts';
import { NvmeSubsystem } from './host-subsystem.ts';
import { type NbdOptions, NvmeNbd } from './nbd.ts';

export interface HostOptions {
  /** This host's name, and its identifier (a UUID). Default: /etc/nvme/hostnqn and hostid, else made once and kept. */
  readonly hostnqn?: string | undefined;
  readonly hostid?: string | undefined;
  /** Folder in which a generated identity is kept. Without it, it lasts as long as the process. */
  readonly state?: string | undefined;
  /** Where hostnqn and hostid are looked for. Default: /etc/nvme. */
  readonly etc?: string | undefined;
  readonly limits?: Partial<Limits> | undefined;
  /** A pino logger, or anything with its four methods. */
  readonly logger?: Logger | undefined;
  /** The world to live in; for tests. Default: the real one. */
  readonly env?: Env | undefined;
}

export interface DiscoveryResult {
  /** Changes when the log changes. */
  readonly genctr: number;
  readonly records: readonly DiscoveryRecord[];
}

/** Name of the document in the state folder. */
const IDENTITY = 'host.json';

/** What is under the promises. */
export interface HostParts {
  readonly registry: Registry;
  /** Who it is when this is asked for. Rejects with EINVAL. */
  readonly identity: (source: IdentitySource) => Promise<HostIdentity>;
}

/** For this package only. */
export let partsOf: (host: NvmeHost) => HostParts;

/** A host: connects to subsystems. Every method rejects with an NvmeError. */
export class NvmeHost {
  static {
    partsOf = (host) => ({ registry: host.#registry, identity: (source) => host.#resolve(source) });
  }
  readonly #env: Env;
  readonly #registry: Registry;
  readonly #options: HostOptions;
  readonly #subsystems = new WeakMap<Subsystem, NvmeSubsystem>();
  /** Attempts under way, so that a second one to the same place joins the first. */
  readonly #connecting = new Map<Controller, Promise<NvmeSubsystem>>();
  readonly #served = new Set<NvmeNbd>();
  readonly #following = new Set<NvmeFollowing>();
  readonly #changes = new Set<HostChanges>();
  #identity: Promise<IdentitySources> | undefined = undefined;
  #closed: Promise<void> | undefined = undefined;
  /** Closed, and nothing happens any more. */
  #ended = false;

  /** Made by `createHost`. */
  constructor(env: Env, options: HostOptions) {
    this.#env = env;
    this.#options = options;
    this.#registry = new Registry(env, options.limits);
  }

  /** Those it is connected to. */
  get subsystems(): NvmeSubsystem[] {
    return [...this.#registry.subsystems]
      .filter(({ discovery }) => !discovery)
      .map((each) => this.#wrap(each));
  }

  /** Who it is when nothing else is asked for. */
  async identity(): Promise<HostIdentity> {
    return this.#resolve({});
  }

  /**
   * Connects a subsystem: one controller for its address, and one for each of `ways`. Resolves when the namespaces are
   * known; with several ways when at least one is connected and the others have failed or are connected too. Those that
   * failed are tried on, as after a loss. A controller that goes to the same place as the same host is used again,
   * unless `duplicate_connect` says otherwise. Rejects with the reason of the first way: what the system says
   * (ECONNREFUSED, …), ETIMEDOUT, EPROTO, EINVAL, ABORT_ERR, or the status of a command.
   */
  async connect(options: ConnectOptions): Promise<NvmeSubsystem> {
    const { ways = [], ...first } = options;
    if (ways.length === 0) return this.#connect(options);
    const own = { trsvcid: undefined, host_traddr: undefined, host_iface: undefined, preferred: undefined };
    const all: ConnectOptions[] = [first, ...ways.map((way) => ({ ...first, ...own, ...way }))];
    const attempts = await Promise.allSettled(all.map((each) => this.#connect(each)));
    const connected = attempts.find((each) => each.status === 'fulfilled');
    if (connected === undefined) throw (attempts[0] as PromiseRejectedResult).reason;
    const { signal } = options;
    for (const [i, { status }] of attempts.entries())
      if (status === 'rejected' && signal?.aborted !== true)
        this.#connect({ ...all[i]!, keep_trying: true }).catch(() => {
          // It was disconnected, or given up: its controller says why.
        });
    return connected.value;
  }

  async #connect(options: ConnectOptions): Promise<NvmeSubsystem> {
    this.#checkOpen();
    const identity = await this.#resolve(options);
    const wanted = controllerOptions(options, identity, this.#registry.limits, availableParallelism());
    const known = options.duplicate_connect === true ? undefined : this.#registry.find(wanted);
    if (known !== undefined) {
      const attempt = this.#connecting.get(known);
      return attempt ?? this.#wrap(known.subsystem!);
    }
    const { controller, connected } = this.#attempt(wanted, options.signal);
    const attempt = connected.then((live) => this.#wrap(live.subsystem!));
    if (controller === undefined) return attempt;
    this.#connecting.set(controller, attempt);
    try {
      return await attempt;
    } finally {
      this.#connecting.delete(controller);
    }
  }

  /** Asks a discovery service what there is to connect to, and leaves it again. Rejects as `connect` does. */
  async discover(options: AddressOptions): Promise<DiscoveryResult> {
    this.#checkOpen();
    const identity = await this.#resolve(options);
    const controller = await this.#attempt(discoveryOptions(options, identity), options.signal).connected;
    try {
      const log = await new Promise<DiscoveryLog>((resolve, reject) => {
        new DiscoveryReader(controller, (reason, read) => {
          if (read !== undefined) resolve(read);
          else reject(failureError(reason ?? failure('EIO', 'the discovery log cannot be read')));
        }).start();
      });
      return { genctr: log.genctr, records: log.records.map(discoveryRecord) };
    } finally {
      await new Promise<void>((resolve) => controller.disconnect('disconnected', resolve));
    }
  }

  /**
   * Stays connected to a discovery service and connects what its log names, now and whenever that changes; so with the
   * services that it refers to. Resolves at once: what cannot be reached is tried again. Rejects with EINVAL.
   */
  async follow(options: FollowOptions): Promise<NvmeFollowing> {
    const identity = await this.#resolve(options);
    this.#checkOpen();
    return new NvmeFollowing(this.#registry, options, identity, this.#following);
  }

  /**
   * What happens to controllers, subsystems, disks, paths and ports, from this call on:
   *
   *     for await (const change of host.changes({ signal })) console.log(change.kind, change.name);
   *
   * It is over when the host is closed, with `break`, or with the signal, which throws ABORT_ERR. Throws EINVAL.
   */
  changes(options: ChangesOptions = {}): HostChanges {
    const changes = new HostChanges(this.#registry.journal, options, this.#changes);
    if (this.#ended) changes.end();
    return changes;
  }

  /**
   * Serves disks to NBD clients (qemu-img, nbdcopy, nbdinfo, nbdfuse, fio) on a Unix-domain socket. It goes with the
   * host, or by its own `close`. Rejects with what the system says of the socket: EADDRINUSE, EACCES, ….
   */
  async serveNbd(disks: NvmeDisk | readonly NvmeDisk[], options: NbdOptions): Promise<NvmeNbd> {
    this.#checkOpen();
    const served = new NvmeNbd(this.#env, options);
    for (const disk of disks instanceof NvmeDisk ? [disks] : disks) served.add(headOf(disk));
    await served.listen();
    this.#served.add(served);
    void served.ended.then(() => this.#served.delete(served));
    return served;
  }

  /** Disconnects everything, in order. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#following].map((following) => following.stop()));
    await Promise.all([...this.#served].map((served) => served.close()));
    await new Promise<void>((resolve) => this.#registry.stop(resolve));
    this.#ended = true;
    for (const changes of [...this.#changes]) changes.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw new NvmeError('the host is closed', { code: 'ECANCELED' });
  }

  #wrap(subsystem: Subsystem): NvmeSubsystem {
    let made = this.#subsystems.get(subsystem);
    if (made === undefined) this.#subsystems.set(subsystem, (made = new NvmeSubsystem(subsystem)));
    return made;
  }

  /** Connects a controller. It rejects when nothing is left of the attempt, so that it may be made again at once. */
  #attempt(
    options: ControllerOptions,
    signal: AbortSignal | undefined,
  ): { controller: Controller | undefined; connected: Promise<Controller> } {
    this.#checkOpen();
    if (signal?.aborted === true)
      return { controller: undefined, connected: Promise.reject(abortError(signal, 'connect')) };
    let controller: Controller | undefined;
    const connected = new Promise<Controller>((resolve, reject) => {
      const abort = (): void => controller?.disconnect('disconnected', () => undefined);
      const done = (reason: Failure | undefined): void => {
        signal?.removeEventListener('abort', abort);
        if (reason === undefined) resolve(controller!);
        else reject(signal?.aborted === true ? abortError(signal, 'connect') : failureError(reason));
      };
      controller = this.#registry.connect(options, done);
      signal?.addEventListener('abort', abort, { once: true });
    });
    return { controller, connected };
  }

  // ---- identity

  async #resolve(options: IdentitySource): Promise<HostIdentity> {
    const asked: IdentitySource =
      options.hostnqn === undefined && options.hostid === undefined ? this.#options : options;
    this.#identity ??= this.#sources();
    const { etc, persisted, generated } = await this.#identity;
    const result = resolveIdentity(asked, etc, persisted, generated, uuidOfName);
    if ('problem' in result) throw invalid(result.problem);
    return result.identity;
  }

  /** What is known before anybody asks. An identity that has to be made is kept before it is used. */
  async #sources(): Promise<IdentitySources> {
    const folder = this.#options.etc ?? '/etc/nvme';
    const etc = {
      hostnqn: await textOf(join(folder, 'hostnqn')),
      hostid: await textOf(join(folder, 'hostid')),
    };
    const generated = uuidOf(this.#env.random.bytes(16));
    const persisted = sourceOf(await answer<string>((done) => this.#env.store.read(IDENTITY, done)));
    if (persisted.hostnqn !== undefined || etc.hostnqn !== undefined || etc.hostid !== undefined)
      return { etc, persisted, generated };
    const made = resolveIdentity({}, {}, {}, generated, uuidOfName);
    if (!('identity' in made)) throw invalid(made.problem);
    await answer((done) =>
      this.#env.store.write(IDENTITY, `${JSON.stringify(made.identity, undefined, 2)}\n`, (error) =>
        done(error),
      ),
    );
    return { etc, persisted: made.identity, generated };
  }
}

interface IdentitySources {
  readonly etc: IdentitySource;
  readonly persisted: IdentitySource;
  readonly generated: string;
}

/** The file's text; undefined when it is not there or not ours to read. */
async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** A document that cannot be read as one is as good as none, and is replaced. */
function sourceOf(text: string | undefined): IdentitySource {
  try {
    const value: unknown = text === undefined ? undefined : JSON.parse(text);
    if (typeof value !== 'object' || value === null) return {};
    const { hostnqn, hostid } = value as Record<string, unknown>;
    return typeof hostnqn === 'string' && typeof hostid === 'string' ? { hostnqn, hostid } : {};
  } catch {
    return {};
  }
}

/** Makes a host. It connects nothing by itself. Throws NvmeError when the state folder cannot be made. */
export function createHost(options: HostOptions = {}): NvmeHost {
  try {
    const env = options.env ?? nodeEnv({ stateFolder: options.state, logger: options.logger });
    return new NvmeHost(env, options);
  } catch (error) {
    const { code = 'EIO', message = String(error) } = error as { code?: string; message?: string };
    throw new NvmeError(`state folder: ${message}`, { code, cause: error });
  }
}

/** A UUID that is the same for the same name, and another for another (RFC 9562, version 5). */
function uuidOfName(name: string): string {
  const bytes = createHash('sha1').update('nvme-tcp host ').update(name).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
