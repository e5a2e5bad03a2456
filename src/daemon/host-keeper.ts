/**
 * What keeps a host daemon's controllers: it connects them, remembers those that it was told to connect, and connects
 * them again after a restart. A controller that is disconnected or given up is forgotten, as in Linux. What discovery
 * services name is connected by followers (host-followers.ts); of those only the service is remembered. Transport ports
 * that were removed stay away.
 */
import { availableParallelism } from 'node:os';
import { answer, refusal } from '../api/answer.ts';
import { controllerOptions, headOptions, recoveryOptions } from '../api/connect-options.ts';
import { NvmeError } from '../api/error.ts';
import { abortError, failureError } from '../api/failure.ts';
import { type HostParts, type NvmeHost, partsOf } from '../api/host.ts';
import type { Controller } from '../initiator/controller.ts';
import type { ControllerOptions } from '../initiator/controller-options.ts';
import type { Failure } from '../initiator/failure.ts';
import type { Head } from '../initiator/head.ts';
import type { HostIdentity } from '../initiator/identity.ts';
import type { Registry } from '../initiator/registry.ts';
import type { Subsystem } from '../initiator/subsystem.ts';
import type { Env } from '../runtime/ports.ts';
import {
  type ConnectionEntry,
  DOCUMENT,
  EMPTY,
  type FollowEntry,
  type HostDocument,
  type RemovedPort,
  hostDocumentText,
  parseHostDocument,
} from './host-document.ts';
import { HostFollowers } from './host-followers.ts';

export interface Connected {
  readonly controller: Controller;
  /** It was there before. */
  readonly already: boolean;
}

/** What a name of Linux's stands for: a controller `nvme0`, a subsystem `nvme-subsys0`, a head `nvme0n1`. */
export interface Meant {
  readonly subsystem: Subsystem | undefined;
  readonly controllers: readonly Controller[];
  readonly head: Head | undefined;
}

export type Settings = Pick<
  ConnectionEntry,
  | 'reconnect_delay'
  | 'ctrl_loss_tmo'
  | 'fast_io_fail_tmo'
  | 'dev_loss_tmo'
  | 'backoff'
  | 'iopolicy'
  | 'write_failover'
  | 'delayed_removal_secs'
  | 'preferred'
>;

export class HostKeeper {
  readonly registry: Registry;
  readonly #env: Env;
  readonly #host: NvmeHost;
  readonly #parts: HostParts;
  /** By the id of the controller. */
  readonly #connections = new Map<number, ConnectionEntry>();
  readonly followers: HostFollowers;
  /** Attempts under way, for those who ask for the same. */
  readonly #attempts = new Map<Controller, Promise<void>>();
  #written: { readonly text: string; readonly done: Promise<void> } | undefined = undefined;
  #stopping = false;

  constructor(env: Env, host: NvmeHost) {
    this.#env = env;
    this.#host = host;
    this.#parts = partsOf(host);
    this.registry = this.#parts.registry;
    this.followers = new HostFollowers(env, host, this.registry, this.#parts.identity);
    this.registry.journal.listen(({ kind, id }) => {
      if (kind === 'controller removed' && !this.#stopping && this.#connections.delete(id)) this.#saveLater();
    });
  }

  get document(): HostDocument {
    const removedPorts = this.registry.ports.away.map(({ local, address }): RemovedPort => {
      if (address === undefined) return { local };
      return { local, traddr: address.host, trsvcid: address.port };
    });
    return {
      version: 1,
      connections: [...this.#connections.values()],
      following: this.followers.entries,
      ...(removedPorts.length > 0 && { removedPorts }),
    };
  }

  identity(): Promise<HostIdentity> {
    return this.#host.identity();
  }

  // ---- the document

  /** Connects what was connected before; attempts go on as after a loss. Rejects when the document cannot be used. */
  async start(): Promise<void> {
    const text = await answer<string | undefined>((done) => this.#env.store.read(DOCUMENT, done));
    const {
      connections,
      following,
      removedPorts = [],
    } = text === undefined ? EMPTY : parseHostDocument(text);
    // All of it is looked at before anything is connected.
    const options = await Promise.all(connections.map((entry) => this.#options(entry, true)));
    for (const entry of following) await this.followers.check(entry);
    for (const { local, traddr, trsvcid = 4420 } of removedPorts)
      this.registry.ports.setAway({
        local,
        ...(traddr !== undefined && { address: { host: traddr, port: trsvcid } }),
      });
    for (const [i, entry] of connections.entries()) {
      const { controller, connected } = this.#begin(options[i]!);
      connected.catch((error: unknown) => this.#log('a connection is not there again', entry, error));
      if (controller !== undefined) this.#connections.set(controller.id, entry);
    }
    for (const entry of following) await this.followers.start(entry);
  }

  /** Ports that were removed stay so over a restart. */
  portsChanged(): Promise<void> {
    return this.#save();
  }

  /** Stays connected to a discovery service, and connects what it names. False: it does so already. */
  async follow(entry: FollowEntry): Promise<boolean> {
    if (this.#stopping) throw refusal('ECANCELED', 'the daemon stops');
    const begun = await this.followers.follow(entry);
    if (begun) await this.#save();
    return begun;
  }

  /** After it the document on stable storage is what `document` was when this was called. */
  async #save(): Promise<void> {
    const text = hostDocumentText(this.document);
    if (this.#written?.text !== text) {
      const done = answer<undefined>((written) => this.#env.store.write(DOCUMENT, text, written));
      this.#written = { text, done };
      done.catch(() => (this.#written = undefined));
    }
    await this.#written.done;
  }

  #saveLater(): void {
    this.#save().catch((error: unknown) => this.#log(`${DOCUMENT} cannot be written`, {}, error));
  }

  #log(what: string, entry: Partial<ConnectionEntry>, error: unknown): void {
    if (!(error instanceof NvmeError)) throw error;
    const { traddr, trsvcid, subnqn } = entry;
    this.#env.trace.event('warn', what, { traddr, trsvcid, subnqn, why: error.message });
  }

  // ---- connecting

  async #options(entry: ConnectionEntry, keepTrying: boolean): Promise<ControllerOptions> {
    const identity = await this.#parts.identity(entry);
    const options = { ...entry, keep_trying: keepTrying };
    return controllerOptions(options, identity, this.registry.limits, availableParallelism());
  }

  /** Rejects when nothing is left of the attempt, which then may be made again at once. */
  #begin(options: ControllerOptions): { controller: Controller | undefined; connected: Promise<void> } {
    if (this.#stopping) throw refusal('ECANCELED', 'the daemon stops');
    let controller: Controller | undefined;
    const connected = new Promise<void>((resolve, reject) => {
      const done = (reason: Failure | undefined): void => {
        if (controller !== undefined) this.#attempts.delete(controller);
        if (reason === undefined) resolve();
        else reject(failureError(reason));
      };
      controller = this.registry.connect(options, done);
    });
    if (controller !== undefined) this.#attempts.set(controller, connected);
    return { controller, connected };
  }

  /**
   * Resolves when it is connected and its namespaces are known, and on stable storage that it is wanted; with
   * `keepTrying` at once. One that goes to the same place is left as it is. Aborted: it is not wanted any more.
   */
  async connect(entry: ConnectionEntry, keepTrying: boolean, gone: AbortSignal): Promise<Connected> {
    const options = await this.#options(entry, keepTrying);
    const known = entry.duplicate_connect === true ? undefined : this.registry.find(options);
    if (known !== undefined) {
      if (!keepTrying) await this.#attempts.get(known);
      return { controller: known, already: true };
    }
    if (gone.aborted) throw abortError(gone, 'connect');
    const { controller, connected } = this.#begin(options);
    if (keepTrying)
      connected.catch((error: unknown) => this.#log('controller is not connected', entry, error));
    else {
      const abort = (): void => controller?.disconnect('disconnected', () => undefined);
      gone.addEventListener('abort', abort, { once: true });
      try {
        await connected;
      } finally {
        gone.removeEventListener('abort', abort);
      }
    }
    if (controller?.mayReturn !== true) throw refusal('ECONNRESET', 'the connection was lost');
    this.#connections.set(controller.id, entry);
    await this.#save();
    return { controller, already: false };
  }

  // ---- what is there

  /** Rejects with ENOENT. */
  meant(name: string): Meant {
    const wanted = name.replace(/^\/dev\//, '');
    for (const controller of this.registry.controllers)
      if (controller.name === wanted)
        return { subsystem: controller.subsystem, controllers: [controller], head: undefined };
    for (const subsystem of this.registry.subsystems) {
      const controllers = [...subsystem.controllers];
      if (subsystem.name === wanted || (subsystem.nqn === wanted && !subsystem.discovery))
        return { subsystem, controllers, head: undefined };
      const head = subsystem.heads.find((each) => each.name === wanted);
      if (head !== undefined) return { subsystem, controllers, head };
    }
    throw refusal('ENOENT', `there is no ${name}; "nvmetcp host list" tells what there is`);
  }

  head(name: string): Head {
    const { head } = this.meant(name);
    if (head === undefined) throw refusal('EINVAL', `${name} is no head; nvme0n1 is the name of one`);
    return head;
  }

  // ---- changing it

  /**
   * From now on, over losses and restarts. Of a controller: how its loss is dealt with; of a subsystem or a head: that
   * of each controller, and how heads use their paths. Throws EINVAL before anything is changed.
   */
  async set({ subsystem, controllers, head }: Meant, settings: Settings): Promise<void> {
    const recovery = recoveryOptions(settings);
    const { delayedRemoval, ...heads } = headOptions(settings);
    if (Object.keys(headOptions(settings)).length > 0 && subsystem === undefined)
      throw refusal('EAGAIN', 'it has not been connected yet, so that nobody knows its subsystem');
    if (Object.keys(recovery).length > 0) for (const each of controllers) each.set(recovery);
    if (Object.keys(heads).length > 0) subsystem?.set(heads);
    if (delayedRemoval !== undefined)
      if (head !== undefined) head.setDelayedRemoval(delayedRemoval);
      else {
        subsystem?.set({ delayedRemoval });
        for (const each of [...(subsystem?.heads ?? [])]) each.setDelayedRemoval(delayedRemoval);
      }
    const { iopolicy, write_failover, delayed_removal_secs, ...ofController } = settings;
    const ofSubsystem = {
      ...(iopolicy !== undefined && { iopolicy }),
      ...(write_failover !== undefined && { write_failover }),
      // What is said of one head goes with it.
      ...(delayed_removal_secs !== undefined && head === undefined && { delayed_removal_secs }),
    };
    const named = new Set(controllers);
    for (const each of new Set([...controllers, ...(subsystem?.controllers ?? [])])) {
      const entry = this.#connections.get(each.id);
      if (entry !== undefined)
        this.#connections.set(each.id, { ...entry, ...ofSubsystem, ...(named.has(each) && ofController) });
    }
    await this.#save();
  }

  /** Resolves when they are gone, within a bound, whatever state they are in. */
  async disconnect(controllers: readonly Controller[]): Promise<void> {
    // Forgotten first: whatever happens meanwhile, what was disconnected does not come back.
    const left = this.followers.leave(controllers);
    for (const { id } of controllers) this.#connections.delete(id);
    await Promise.all([
      this.#save(),
      left,
      ...controllers.map(
        (controller) => new Promise<void>((resolve) => controller.disconnect('disconnected', resolve)),
      ),
    ]);
  }

  /** Followers too. */
  async disconnectAll(): Promise<number> {
    const controllers = [...this.registry.controllers];
    const left = this.followers.leaveAll();
    await Promise.all([left, this.disconnect(controllers)]);
    return controllers.length;
  }

  /** The end of the daemon: everything is disconnected, and nothing is forgotten. Resolves within a bound. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.followers.stop();
    await this.#host.close();
    await this.#written?.done.catch(() => undefined);
  }
}
