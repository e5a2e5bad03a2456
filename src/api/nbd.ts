/** Disks as NBD exports on a Unix-domain socket: `host.serveNbd`. */
import { resolve as resolvePath } from 'node:path';
import type { Head } from '../initiator/head.ts';
import type { NbdLimits } from '../nbd/limits.ts';
import { NbdServer } from '../nbd/server.ts';
import { NodeLocalNet } from '../runtime/node/local.ts';
import type { Env, Listener } from '../runtime/ports.ts';
import { answer } from './answer.ts';
import { invalid } from './failure.ts';
import { HeadDevice } from './head-device.ts';

export interface NbdOptions {
  /**
   * Of the socket, which is made for this user only. One that a dead process left is replaced; EADDRINUSE: somebody
   * answers on it.
   */
  readonly path: string;
  readonly limits?: Partial<NbdLimits> | undefined;
}

export interface NbdCloseOptions {
  /** Milliseconds that requests under way are waited for; then they are given up. Default: 5,000. */
  readonly patience?: number | undefined;
}

const PATIENCE = 5000;

/**
 * An NBD server on a Unix-domain socket. Each disk is an export of its own name (`nvme0n1`); the first one is also the
 * default, which needs no name. Clients see a new size when they connect anew.
 */
export class NvmeNbd {
  /** Absolute. */
  readonly path: string;
  /** Resolves when it serves nothing any more: it was closed, or its last disk is gone. */
  readonly ended: Promise<void>;
  readonly #env: Env;
  readonly #server: NbdServer;
  readonly #heads = new Map<Head, { readonly name: string; readonly unwatch: () => void }>();
  #listener: Listener | undefined = undefined;
  #end: () => void = () => undefined;
  #closed: Promise<void> | undefined = undefined;

  /** Made by `host.serveNbd`. */
  constructor(env: Env, options: NbdOptions) {
    this.#env = env;
    this.path = resolvePath(options.path);
    this.#server = new NbdServer(env, options.limits);
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  /** Listens. Rejects with what the system says. */
  async listen(): Promise<void> {
    const local = new NodeLocalNet();
    const listener = await answer<Listener>((done) =>
      local.listen(this.path, (transport) => this.#server.accept(transport), done),
    );
    // Its last disk may have gone meanwhile.
    if (this.#closed === undefined) this.#listener = listener;
    else await new Promise<void>((resolve) => listener.close(resolve));
  }

  /** The exports, in order. */
  get exports(): { readonly name: string; readonly size: number; readonly clients: number }[] {
    const connections = [...this.#server.connections];
    return [...this.#server.exports.values()].map((each) => ({
      name: each.name,
      size: each.device.size,
      clients: connections.filter((connection) => connection.export === each).length,
    }));
  }

  /** `nbd+unix:///nvme0n1?socket=/run/disk.sock`: what clients connect to. Without a name, the default. */
  uri(name = ''): string {
    return `nbd+unix:///${encodeURIComponent(name)}?socket=${this.path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** Offers one more disk. It is taken away when its head goes. */
  add(head: Head): void {
    const { name } = head;
    if (this.#server.exports.has(name)) throw invalid(`${name} is served already`);
    this.#server.add(
      name,
      `${head.subsystem.nqn} namespace ${head.nsid}, ${head.wwid}`,
      new HeadDevice(head),
    );
    const { registry } = head.subsystem;
    const look = (): void => {
      if (head.gone) this.remove(head);
    };
    // The entry may be made just before the head is gone.
    const unwatch = registry.journal.listen(() => this.#env.clock.defer(look));
    this.#heads.set(head, { name, unwatch });
  }

  /** Takes a disk away: its clients are answered what is under way, and disconnected. After the last one it closes. */
  remove(head: Head): void {
    const found = this.#heads.get(head);
    if (found === undefined) return;
    this.#heads.delete(head);
    found.unwatch();
    this.#server.remove(found.name);
    if (this.#heads.size === 0) void this.close();
  }

  /** Disconnects every client after what it has under way, and removes the socket. Idempotent. */
  close(options: NbdCloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(options.patience ?? PATIENCE);
    return this.#closed;
  }

  async #close(patience: number): Promise<void> {
    const timer = this.#env.clock.timer('nbd clients finish', patience, () => this.#server.force());
    const listener = this.#listener;
    if (listener !== undefined) await new Promise<void>((resolve) => listener.close(resolve));
    await new Promise<void>((resolve) => this.#server.stop(resolve));
    timer.cancel();
    for (const { unwatch } of this.#heads.values()) unwatch();
    this.#heads.clear();
    this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
