/**
 * The first half of a change: everything that can fail. Files are opened, addresses bound, facts read; nothing that runs
 * notices. If something fails, all of it is given back.
 */
import type { NodeEnv } from '../runtime/node/env.ts';
import { addressOf, covers } from '../config/address.ts';
import {
  type FileEntry,
  type NamespaceEntry,
  type PortEntry,
  type TargetDocument,
  isFile,
  namespaceName,
} from '../config/document.ts';
import { changeNamespace } from '../config/edit.ts';
import { anotherFile } from '../config/export.ts';
import { isSameFile, withIdentity } from '../config/file-identity.ts';
import { type Change, groupsOf, keyOf } from '../config/plan.ts';
import { ConfigError } from '../config/problem.ts';
import { formatSize } from '../config/units.ts';
import { must } from '../runtime/assert.ts';
import { type NamespaceFacts, factsDocument } from '../target/facts.ts';
import { checkFacts } from '../target/namespace.ts';
import type { Port } from '../target/port.ts';
import type { Target } from '../target/target.ts';
import { answer, refusal } from './answer.ts';
import { NvmeError } from './error.ts';
import { type OpenFile, giveUp, openFile } from './exported-file.ts';

export interface PrepareOptions {
  /** Files to be made, by path, with their sizes. */
  readonly make: ReadonlyMap<string, number>;
  /** Subsystems go although hosts are connected. */
  readonly force: boolean;
  /** Whether the change may be left for later; without it the whole plan fails. */
  readonly lenient: (change: Change, error: NvmeError) => boolean;
  /** Where the document is, for messages. */
  readonly place: string;
}

export type Problem = { readonly change: Change; readonly error: NvmeError };

export class Preparation {
  readonly #env: NodeEnv;
  readonly #target: Target;
  readonly #options: PrepareOptions;
  /** By `keyOf` of the change. */
  readonly files = new Map<string, OpenFile>();
  /** By UUID. */
  readonly facts = new Map<string, NamespaceFacts>();
  /** Bound, by PORTID. */
  readonly ports = new Map<number, Port>();
  /** Listeners that made way, to listen again if nothing comes of it. */
  readonly #paused = new Set<Port>();
  /** What is left for later, by `keyOf`. */
  readonly left = new Map<string, Problem>();

  constructor(env: NodeEnv, target: Target, options: PrepareOptions) {
    this.#env = env;
    this.#target = target;
    this.#options = options;
  }

  /** Rejects, with everything given back, when something fails that may not be left for later. */
  async run(plan: readonly Change[], wanted: TargetDocument): Promise<void> {
    try {
      this.#checkLimits(wanted);
      for (const change of plan) this.#checkForce(change);
      // Files that have to be made come last, when everything else about files is known to be right.
      const makes = (change: Change): number =>
        'entry' in change && isFile(change.entry) && this.#options.make.has(change.entry.path) ? 1 : 0;
      for (const change of plan.toSorted((a, b) => makes(a) - makes(b)))
        if (change.kind === 'add namespace' || change.kind === 'enable namespace')
          await this.#attempt(change, () => this.#namespace(change));
      for (const change of plan)
        if (change.kind === 'add port') await this.#attempt(change, () => this.#port(change.port, plan));
    } catch (error) {
      await this.undo();
      throw error;
    }
  }

  async undo(): Promise<void> {
    for (const open of this.files.values()) await giveUp(open);
    for (const port of this.ports.values()) await closed(port);
    for (const port of this.#paused)
      await answer<undefined>((done) => port.listen(done)).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        this.#env.trace.event('error', `port ${port.id} does not listen any more: ${message}`, {});
      });
  }

  /** The document with what has been learned about files. */
  completed(document: TargetDocument, plan: readonly Change[]): TargetDocument {
    let next = document;
    for (const change of plan) {
      const open = this.files.get(keyOf(change));
      if (open === undefined || !('nsid' in change)) continue;
      next = changeNamespace(change.nqn, change.nsid, (entry) =>
        isFile(entry) ? withIdentity(entry, open) : entry,
      )(next);
    }
    return next;
  }

  async #attempt(change: Change, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const error = asNvmeError(thrown);
      if (error === undefined || !this.#options.lenient(change, error)) throw error ?? thrown;
      this.left.set(keyOf(change), { change, error });
    }
  }

  // ---- what needs no effect

  #checkLimits(document: TargetDocument): void {
    const { limits } = this.#target;
    const { subsystems, ports } = document;
    const open = ports.filter(({ enabled, dormant }) => enabled && !dormant);
    const most = (what: string, count: number, limit: number): void => {
      if (count > limit) throw refusal('EINVAL', `${count} ${what}: at most ${limit} are allowed`);
    };
    most('subsystems', subsystems.length, limits.subsystems);
    most('ports', open.length, limits.ports);
    most(
      'referrals',
      ports.reduce((sum, { referrals }) => sum + referrals.length, 0),
      limits.referrals,
    );
    const group = groupsOf(document).at(-1) ?? 1;
    if (group > limits.anaGroups)
      throw refusal('EINVAL', `ANA group ${group}: groups go up to ${limits.anaGroups}`);
    for (const { nqn, namespaces } of subsystems)
      for (const { nsid } of namespaces)
        if (nsid > limits.namespaces)
          throw refusal('EINVAL', `${namespaceName(nqn, nsid)}: NSIDs go up to ${limits.namespaces}`);
  }

  #checkForce(change: Change): void {
    if (change.kind !== 'remove subsystem' || this.#options.force) return;
    const count = this.#target.subsystems.get(change.nqn)?.controllers.size ?? 0;
    if (count > 0)
      throw refusal(
        'EBUSY',
        `${change.nqn} has ${count === 1 ? 'a controller' : `${count} controllers`}; with force their hosts are disconnected`,
      );
  }

  // ---- namespaces

  async #namespace(
    change: Extract<Change, { kind: 'add namespace' | 'enable namespace' | 'disable namespace' }>,
  ): Promise<void> {
    const { nqn, nsid, entry, kind } = change;
    if (kind === 'enable namespace') {
      // An earlier volume may still be finishing its last operations.
      const namespace = this.#target.subsystems.get(nqn)?.namespaces.get(nsid);
      if (namespace) await answer<undefined>((done) => namespace.disable(done));
    } else this.facts.set(entry.uuid, await this.#loadFacts(entry));
    if (!isFile(entry)) return;
    if (kind === 'add namespace' && change.from !== undefined) return;
    this.files.set(keyOf(change), await this.open(entry));
  }

  /** What an earlier run has learned about it: better not exported than without its reservation. */
  async #loadFacts({ uuid }: NamespaceEntry): Promise<NamespaceFacts> {
    const facts = await answer<NamespaceFacts>((done) => this.#target.facts.load(uuid, done));
    try {
      checkFacts(facts);
      return facts;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw refusal('EBADMSG', `${factsDocument(uuid)}: ${error.message}`, error);
    }
  }

  /** The file of the entry, and no other. */
  async open(entry: FileEntry): Promise<OpenFile> {
    const { path, readOnly, blockSize } = entry;
    const size = this.#options.make.get(path);
    const open = await openFile(this.#env.files, path, { readOnly, size });
    try {
      if (entry.fileId !== undefined && !isSameFile(entry, open))
        throw anotherFile(entry, open, this.#options.place);
      if (open.file.size < blockSize)
        throw refusal('EINVAL', `${path}: ${formatSize(open.file.size)} is smaller than one block`);
      return open;
    } catch (error) {
      await giveUp(open);
      throw error;
    }
  }

  // ---- ports

  async #port(entry: PortEntry, plan: readonly Change[]): Promise<void> {
    const { id, address } = entry;
    const wanted = addressOf(address);
    // What goes by the same plan makes way first; its connections do not notice.
    for (const change of plan) {
      if (change.kind !== 'remove port') continue;
      const old = this.#target.ports.list.find((port) => port.id === change.id);
      if (old === undefined || this.#paused.has(old)) continue;
      if (!covers(old.address, wanted) && !covers(wanted, old.address)) continue;
      this.#paused.add(old);
      await closed(old);
    }
    this.ports.set(id, must(await this.#bind(entry), 'a port that is bound'));
  }

  #bind({ id, address, inlineDataSize, maxQueueSize }: PortEntry): Promise<Port | undefined> {
    const most = this.#target.limits.queueEntries;
    const options = {
      ioCapsuleData: inlineDataSize,
      // A number from another target may be more than this one allows.
      queueEntries: maxQueueSize === undefined ? undefined : Math.min(maxQueueSize, most),
    };
    return answer<Port | undefined>((done) => this.#target.ports.bind(addressOf(address), id, done, options));
  }
}

const closed = (port: Port): Promise<void> => new Promise((resolve) => port.close(resolve));

/** What a person should read; undefined: a fault of our own. */
export function asNvmeError(thrown: unknown): NvmeError | undefined {
  if (thrown instanceof NvmeError) return thrown;
  if (thrown instanceof ConfigError)
    return new NvmeError(thrown.message, { code: thrown.code, cause: thrown });
  return undefined;
}
