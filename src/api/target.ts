/** The public promise of the target side: `createTarget`. */
import type { Logger } from '../runtime/node/trace.ts';
import type { SubsystemEntry, TargetDocument } from '../config/document.ts';
import { addSubsystem, listenAt, removeNamespace, setHosts } from '../config/edit.ts';
import type { NamespaceRequest } from '../config/request.ts';
import type { Limits } from '../target/limits.ts';
import type { Namespace } from '../target/namespace.ts';
import { refusal } from './answer.ts';
import { refresh, resize } from './resize.ts';
import type { Wanted } from './target-control.ts';
import {
  DEFAULT_LISTEN,
  type NamespaceInfo,
  type TargetParts,
  addressesOf,
  assemble,
  checkHosts,
  describe,
  exportOne,
  listenAddresses,
  unlockFolder,
  withExports,
} from './target-parts.ts';
import { mainSubsystem } from './target-state.ts';

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
  constructor(parts: TargetParts, nqn: string) {
    this.#parts = parts;
    this.nqn = nqn;
  }

  /** Where it listens, with the real ports: `127.0.0.1:4420`, `[::1]:4420`. */
  get addresses(): string[] {
    return addressesOf(this.#parts.target);
  }

  /** In the order of their NSIDs. */
  get namespaces(): NamespaceInfo[] {
    return [...this.#exported.values()].map(describe);
  }

  /** Exports one more; connected hosts are told. */
  async addNamespace(request: NamespaceRequest): Promise<NamespaceInfo> {
    this.#checkOpen();
    return describe(await exportOne(this.#parts, this.nqn, request));
  }

  /** Takes it away from the hosts and closes its file, which stays, after the last operation. */
  async removeNamespace(nsid: number): Promise<void> {
    this.#find(nsid);
    await this.#parts.control.change((document) => ({
      document: removeNamespace(this.nqn, nsid)(document),
    }));
  }

  /** Looks at the size of the file again, and tells the hosts if it has changed. */
  async refresh(nsid: number): Promise<NamespaceInfo> {
    const namespace = this.#find(nsid);
    await refresh(namespace);
    return describe(namespace);
  }

  /** Makes the file as large as `size` (bytes, or `2G`) and tells the hosts. Smaller: what lies behind is lost. */
  async resize(nsid: number, size: number | string): Promise<NamespaceInfo> {
    const namespace = this.#find(nsid);
    await resize(namespace, size);
    return describe(namespace);
  }

  /**
   * Stops: no new connections, what is under way is finished and answered, files are synced and closed. A host that
   * does not let go is waited for, up to a minute; `force` does not wait. A second call joins the first.
   */
  close(options: { readonly force?: boolean } = {}): Promise<void> {
    const { target } = this.#parts;
    this.#closed ??= this.#close();
    if (options.force === true) target.force();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { target, env, control } = this.#parts;
    const stopped = new Promise<void>((resolve) => target.stop(resolve));
    await control.stop();
    await stopped;
    await unlockFolder(env);
  }

  get #exported(): ReadonlyMap<number, Namespace> {
    return this.#parts.target.subsystems.get(this.nqn)?.namespaces ?? new Map<number, Namespace>();
  }

  #checkOpen(): void {
    if (this.#closed) throw refusal('ESHUTDOWN', 'the target is closed');
  }

  #find(nsid: number): Namespace {
    this.#checkOpen();
    const namespace = this.#exported.get(nsid);
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
  const { listen = [DEFAULT_LISTEN], namespaces = [], hosts, nqn, serial, model, limits, logger } = options;
  const addresses = listenAddresses(listen);
  checkHosts(hosts ?? []);
  const parts = await assemble({ folder: options.state, limits, logger });
  const { control, env } = parts;
  let target: NvmeTarget | undefined;
  try {
    const main = mainSubsystem(control.state, env.random, { nqn, serial, model });
    target = new NvmeTarget(parts, main.nqn);
    await control.change((document) => started(parts, document, main, addresses, namespaces, hosts));
    return target;
  } catch (error) {
    target ??= new NvmeTarget(parts, '');
    await target.close({ force: true });
    throw error;
  }
}

/** The state knows identities; what is exported, and where, the program says each time. */
async function started(
  parts: TargetParts,
  known: TargetDocument,
  main: SubsystemEntry,
  addresses: readonly string[],
  namespaces: readonly NamespaceRequest[],
  hosts: readonly string[] | undefined,
): Promise<Wanted> {
  const asleep: TargetDocument = {
    ...known,
    subsystems: known.subsystems.map((subsystem) => ({
      ...subsystem,
      namespaces: subsystem.namespaces.map((entry) => ({ ...entry, dormant: true })),
    })),
    ports: known.ports.map((port) => ({ ...port, dormant: true })),
  };
  const there = asleep.subsystems.some((subsystem) => subsystem.nqn === main.nqn);
  let document = there ? asleep : addSubsystem(main)(asleep);
  if (hosts) document = setHosts(main.nqn, hosts)(document);
  for (const address of addresses) document = listenAt(address, main.nqn, { volatile: true })(document);
  return withExports(parts, document, main.nqn, namespaces);
}
