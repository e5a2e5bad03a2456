/** The public promise of the target side: `createTarget`. */
import { truncate } from 'node:fs/promises';
import type { Logger } from '../runtime/node/trace.ts';
import type { Limits } from '../target/limits.ts';
import { answer, refusal } from './answer.ts';
import type { NamespaceRequest } from './exports.ts';
import { fileAt } from './exported-file.ts';
import {
  DEFAULT_LISTEN,
  type NamespaceInfo,
  type TargetParts,
  addressesOf,
  assemble,
  checkHosts,
  describe,
  listenAddresses,
  listenOn,
  unlockFolder,
} from './target-parts.ts';
import { parseSize } from '../config/units.ts';

export interface TargetOptions {
  /** `HOST:PORT`, IPv6 in brackets; port 0 takes a free one. Default: `127.0.0.1:4420`. */
  readonly listen?: readonly string[];
  /** Default: what the state folder knows, else a new one made from a random UUID. */
  readonly nqn?: string;
  /** At most 20 ASCII characters. */
  readonly serial?: string;
  /** At most 40 ASCII characters. */
  readonly model?: string;
  /**
   * Folder in which identities are kept, so that hosts find the same target and the same disks again; locked while
   * the target lives. Without it identities are random, unless they are given.
   */
  readonly state?: string;
  readonly namespaces?: readonly NamespaceRequest[];
  /** Host NQNs that may connect. Undefined: every host that can reach the address. */
  readonly hosts?: readonly string[];
  readonly limits?: Partial<Limits>;
  /** A pino logger, or anything with its four methods. */
  readonly logger?: Logger;
}

/** A target that listens. Every method rejects with an NvmeError. */
export class NvmeTarget {
  readonly nqn: string;
  readonly #parts: TargetParts;
  #closed: Promise<void> | undefined = undefined;

  /** Made by `createTarget`. */
  constructor(parts: TargetParts) {
    this.#parts = parts;
    this.nqn = parts.subsystem.nqn;
  }

  /** Where it listens, with the real ports: `127.0.0.1:4420`, `[::1]:4420`. */
  get addresses(): string[] {
    return addressesOf(this.#parts.target);
  }

  /** In the order of their NSIDs. */
  get namespaces(): NamespaceInfo[] {
    return [...this.#parts.subsystem.namespaces.values()].map(describe);
  }

  /** Exports one more; connected hosts are told. */
  async addNamespace(request: NamespaceRequest): Promise<NamespaceInfo> {
    this.#checkOpen();
    const [namespace] = await this.#parts.exports.add([request]);
    if (!namespace) throw refusal('EIO', 'nothing was exported');
    return describe(namespace);
  }

  /** Takes it away from the hosts and closes its file, which stays, after the last operation. */
  async removeNamespace(nsid: number): Promise<void> {
    this.#checkOpen();
    await this.#parts.exports.remove(nsid);
  }

  /** Looks at the size of the file again, and tells the hosts if it has changed. */
  async refresh(nsid: number): Promise<NamespaceInfo> {
    const namespace = this.#find(nsid);
    const { volume } = namespace;
    if (!volume) throw refusal('ESHUTDOWN', `namespace ${nsid} is disabled`);
    await answer<undefined>((done) => volume.refresh(done));
    return describe(namespace);
  }

  /** Makes the file as large as `size` (bytes, or `2G`) and tells the hosts. Smaller: what lies behind is lost. */
  async resize(nsid: number, size: number | string): Promise<NamespaceInfo> {
    const { volume, blockSize } = this.#find(nsid);
    const bytes = typeof size === 'number' ? size : (parseSize(size) ?? NaN);
    if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % blockSize !== 0)
      throw refusal('EINVAL', `${size} is not a whole number of ${blockSize}-byte blocks`);
    if (!volume) throw refusal('ESHUTDOWN', `namespace ${nsid} is disabled`);
    if (volume.readOnly) throw refusal('EROFS', `namespace ${nsid} is read-only`);
    // Only a regular file, and only the one that is exported: its name may be another's by now.
    if ((await fileAt(volume.path)) !== volume.id)
      throw refusal('ENOTSUP', `namespace ${nsid} cannot be resized: ${volume.path} is not its file`);
    await truncate(volume.path, bytes);
    return this.refresh(nsid);
  }

  /**
   * Stops: no new connections, what is under way is finished and answered, files are synced and closed. A host that
   * does not let go is waited for, up to a minute; `force` does not wait. A second call joins the first.
   */
  close(options: { readonly force?: boolean } = {}): Promise<void> {
    const { target, env } = this.#parts;
    this.#closed ??= new Promise<void>((resolve) => target.stop(resolve)).then(() => unlockFolder(env));
    if (options.force === true) target.force();
    return this.#closed;
  }

  #checkOpen(): void {
    if (this.#closed) throw refusal('ESHUTDOWN', 'the target is closed');
  }

  #find(nsid: number) {
    this.#checkOpen();
    const namespace = this.#parts.subsystem.namespaces.get(nsid);
    if (!namespace) throw refusal('ENOENT', `there is no namespace ${nsid}`);
    return namespace;
  }
}

/**
 * Starts a target with one subsystem in this process. It listens when the promise resolves; nothing of it runs
 * when it rejects, with an NvmeError: EINVAL, an option is wrong; ENOENT, EISDIR, EBUSY, EACCES, ESTALE (another file
 * under a known name), …: a file; EADDRINUSE, EADDRNOTAVAIL, …: an address.
 */
export async function createTarget(options: TargetOptions = {}): Promise<NvmeTarget> {
  const { listen = [DEFAULT_LISTEN], namespaces = [], nqn, serial, model, limits, logger } = options;
  const addresses = listenAddresses(listen);
  checkHosts(options.hosts ?? []);
  const parts = await assemble({ folder: options.state, nqn, serial, model, limits, logger });
  const target = new NvmeTarget(parts);
  try {
    const hosts = options.hosts ?? parts.state.document.hosts;
    if (hosts) parts.subsystem.setHosts(hosts);
    await parts.exports.add(namespaces);
    for (const address of addresses) await listenOn(parts.target, address);
    return target;
  } catch (error) {
    await target.close({ force: true });
    throw error;
  }
}
