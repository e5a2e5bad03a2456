/**
 * What a target exports: files and memory as namespaces of its one subsystem. An identity is on stable storage before
 * a host can see it, and a list of namespaces is taken as a whole or not at all.
 */
import type { Env } from '../runtime/ports.ts';
import { must } from '../runtime/assert.ts';
import type { NamespaceFacts } from '../target/facts.ts';
import type { Namespace } from '../target/namespace.ts';
import type { Subsystem } from '../target/subsystem.ts';
import type { Target } from '../target/target.ts';
import { resolve } from 'node:path';
import { answer, refusal } from './answer.ts';
import { type OpenFile, fileAt, giveUp, openFile } from './exported-file.ts';
import { type FileIdentity, isSameFile } from './file-identity.ts';
import { BLOCK_SIZES, type NamespaceEntry, type TargetDocument, uuidProblem } from './target-document.ts';
import { type TargetState, randomUuid } from './target-state.ts';
import { formatSize, parseSize } from '../config/units.ts';

interface Common {
  /** 512 (the default) or 4096. */
  readonly blockSize?: number | undefined;
  /** The lowest free one when it is not given. */
  readonly nsid?: number | undefined;
  readonly uuid?: string | undefined;
}

/** A regular file or a block device. */
export interface FileNamespace extends Common {
  readonly file: string;
  /** Bytes, or `1G`: makes a sparse file of this size unless there is a file. */
  readonly size?: number | string | undefined;
  readonly readOnly?: boolean | undefined;
}

/** Memory of this process, of so many bytes (or `1G`); its data goes with the namespace. */
export interface MemoryNamespace extends Common {
  readonly memory: number | string;
}

export type NamespaceRequest = FileNamespace | MemoryNamespace;

/** What a namespace in memory has instead of an entry. */
interface Memory {
  readonly nsid: number;
  readonly uuid: string;
}

/** A file that was asked for. */
interface Wanted {
  readonly request: FileNamespace;
  readonly path: string;
  /** It is not there yet. */
  readonly make: boolean;
  readonly readOnly: boolean;
}

/** Parts of the document that change together with its namespaces. */
export type DocumentChange = Partial<Pick<TargetDocument, 'hosts' | 'listen'>>;

export class Exports {
  readonly #env: Env;
  readonly #target: Target;
  readonly #subsystem: Subsystem;
  readonly #state: TargetState;
  /** One change after the other: each begins with the document that the one before has left. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(env: Env, target: Target, subsystem: Subsystem, state: TargetState) {
    this.#env = env;
    this.#target = target;
    this.#subsystem = subsystem;
    this.#state = state;
  }

  /** Persists what is new, with `change`, then exports all of them; rejects, with nothing changed, if one cannot be. */
  add(requests: readonly NamespaceRequest[], change: DocumentChange = {}): Promise<Namespace[]> {
    return this.#inTurn(async () => {
      for (const request of requests) check(request);
      const opened = await this.#openAll(await this.#distinct(requests));
      try {
        const plan = new Map<NamespaceRequest, NamespaceEntry | Memory>();
        let document: TargetDocument = { ...this.#state.document, ...change };
        const wanted = requests.map(({ nsid }) => nsid);
        for (const [request, { path, open }] of opened) {
          const entry = this.#entry(document, request, path, open, wanted);
          document = withEntry(document, entry);
          plan.set(request, entry);
        }
        // Namespaces in memory get what no file has, and nothing of theirs is kept.
        for (const request of requests) {
          if ('file' in request) continue;
          const also = [...plan.values()].map(({ nsid }) => nsid).concat(numbers(wanted));
          const nsid = this.#nsid(document, request.nsid, also);
          plan.set(request, { nsid, uuid: this.#uuid(document, request.uuid) });
        }
        const facts = new Map<string, NamespaceFacts>();
        for (const { uuid } of plan.values()) facts.set(uuid, await this.#facts(uuid));
        await this.#state.replace(document);
        return [...plan].map(([request, given]) => {
          if (!('path' in given)) return this.#exportMemory(given, request as MemoryNamespace);
          const { open } = must(opened.get(request as FileNamespace), 'a file that was opened');
          return this.#export(given, open, must(facts.get(given.uuid), 'facts that were loaded'));
        });
      } catch (error) {
        for (const { open } of opened.values()) await giveUp(open);
        throw error;
      }
    });
  }

  /** Exports the file of an entry of the document, which stays there whether or not that works. */
  restore(entry: NamespaceEntry): Promise<Namespace> {
    return this.#inTurn(async () => {
      const { path, readOnly } = entry;
      const open = await openFile(this.#env.files, path, { readOnly });
      try {
        if (!isSameFile(entry, open)) throw this.#anotherFile(entry, open);
        this.#checkNsid(entry.nsid);
        const seen = { ...entry, ...identityOf(open) };
        const facts = await this.#facts(entry.uuid);
        await this.#state.replace(withEntry(this.#state.document, seen));
        return this.#export(seen, open, facts);
      } catch (error) {
        await giveUp(open);
        throw error;
      }
    });
  }

  /** Takes it away from the hosts, forgets its identity, and closes the file after its last operation. */
  remove(nsid: number): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#subsystem.namespaces.has(nsid)) throw refusal('ENOENT', `there is no namespace ${nsid}`);
      const { document } = this.#state;
      const namespaces = document.namespaces.filter((entry) => entry.nsid !== nsid);
      if (namespaces.length < document.namespaces.length)
        await this.#state.replace({ ...document, namespaces });
      const removed = this.#subsystem.remove(nsid);
      if (removed) await answer<undefined>((done) => removed.close(done));
    });
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(change);
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** The files that are asked for, each once. */
  async #distinct(requests: readonly NamespaceRequest[]): Promise<Wanted[]> {
    const seen = new Map<string, string>();
    const files: Wanted[] = [];
    for (const request of requests) {
      if (!('file' in request)) continue;
      const path = resolve(request.file);
      const id = await fileAt(path);
      const before = seen.get(id ?? path);
      if (before === path) throw refusal('EEXIST', `${path} is given twice`);
      if (before !== undefined) throw refusal('EEXIST', `${path} is the same file as ${before}`);
      seen.set(id ?? path, path);
      const { namespaces } = this.#state.document;
      const known = namespaces.find((entry) => entry.path === path);
      if (known && id === undefined) {
        const what = `${path} is namespace ${known.nsid} of this target, and is missing`;
        throw refusal('ENOENT', `${what}: put it back, or delete its entry in ${this.#state.place}`);
      }
      const likely = known ?? namespaces.find((entry) => entry.fileId === id);
      const readOnly = request.readOnly ?? likely?.readOnly ?? false;
      files.push({ request, path, make: id === undefined, readOnly });
    }
    return files;
  }

  /** In the order given. Those that have to be made come last, when everything else is known to be right. */
  async #openAll(files: readonly Wanted[]): Promise<Map<FileNamespace, { path: string; open: OpenFile }>> {
    const opened = new Map<FileNamespace, { path: string; open: OpenFile }>();
    try {
      for (const { request, path, readOnly } of files.toSorted((a, b) => Number(a.make) - Number(b.make))) {
        const size = request.size === undefined ? undefined : bytes(request.size);
        opened.set(request, { path, open: await openFile(this.#env.files, path, { readOnly, size }) });
      }
    } catch (error) {
      for (const { open } of opened.values()) await giveUp(open);
      throw error;
    }
    return new Map(files.map(({ request }) => [request, must(opened.get(request), 'all of them are open')]));
  }

  /** The entry of a file: the one it has, moved to `path`, or a new one. */
  #entry(
    document: TargetDocument,
    request: FileNamespace,
    path: string,
    open: OpenFile,
    wanted: readonly (number | undefined)[],
  ): NamespaceEntry {
    const known = document.namespaces.find((entry) => isSameFile(entry, open));
    if (known) {
      this.#checkSame(known, request);
      return { ...known, path, ...identityOf(open) };
    }
    const other = document.namespaces.find((entry) => entry.path === path);
    if (other) throw this.#anotherFile(other, open);
    const blockSize = request.blockSize ?? 512;
    if (open.file.size < blockSize) throw refusal('EINVAL', `${path}: is smaller than one block`);
    return {
      nsid: this.#nsid(document, request.nsid, numbers(wanted)),
      uuid: this.#uuid(document, request.uuid),
      path,
      ...identityOf(open),
      blockSize,
      readOnly: request.readOnly ?? false,
    };
  }

  /** What hosts have seen of a disk does not change by the way. */
  #checkSame(known: NamespaceEntry, request: FileNamespace): void {
    for (const key of ['blockSize', 'readOnly', 'nsid', 'uuid'] as const) {
      const wanted = request[key];
      if (wanted === undefined || wanted === known[key]) continue;
      const what = `${known.path} is namespace ${known.nsid} with ${key} ${known[key]}, not ${wanted}`;
      throw refusal('EINVAL', `${what}; to change it, edit ${this.#state.place}`);
    }
  }

  #anotherFile(entry: NamespaceEntry, { fileId }: FileIdentity): Error {
    return refusal(
      'ESTALE',
      `${entry.path} is another file than the one that is namespace ${entry.nsid} ` +
        `(${entry.fileId}${entry.fileId === fileId ? ', made anew' : `, now ${fileId}`}). ` +
        `If it is that disk, restored from a copy: set its "fileId" to "${fileId}" and remove its "born" in ` +
        `${this.#state.place}; if it is a new disk: delete its entry there`,
    );
  }

  /** `wanted`, or the lowest that is free and that no `other` wants. */
  #nsid(document: TargetDocument, wanted: number | undefined, others: readonly number[]): number {
    const entries = document.namespaces.map(({ nsid }) => nsid);
    const taken = new Set([...entries, ...this.#subsystem.namespaces.keys()]);
    if (wanted !== undefined && taken.has(wanted)) throw refusal('EEXIST', `namespace ${wanted} exists`);
    let nsid = wanted ?? 1;
    while (wanted === undefined && (taken.has(nsid) || others.includes(nsid))) nsid++;
    this.#checkNsid(nsid);
    return nsid;
  }

  #checkNsid(nsid: number): void {
    const most = this.#target.limits.namespaces;
    if (nsid > most) throw refusal('EINVAL', `namespace ${nsid}: NSIDs go up to ${most}`);
  }

  #uuid(document: TargetDocument, wanted: string | undefined): string {
    const uuid = wanted?.toLowerCase() ?? randomUuid(this.#env.random);
    const taken = [...document.namespaces, ...this.#subsystem.namespaces.values()];
    if (taken.some((other) => other.uuid === uuid)) throw refusal('EEXIST', `the UUID ${uuid} is taken`);
    return uuid;
  }

  /** What an earlier run has learned about it: its owner, its reservation. */
  #facts(uuid: string): Promise<NamespaceFacts> {
    return answer<NamespaceFacts>((done) => this.#target.facts.load(uuid, done));
  }

  #export(entry: NamespaceEntry, { file }: OpenFile, facts: NamespaceFacts): Namespace {
    const { nsid, uuid, blockSize, readOnly } = entry;
    return this.#target.addNamespace(this.#subsystem, file, { nsid, uuid, blockSize, readOnly, facts });
  }

  #exportMemory({ nsid, uuid }: Memory, { memory, blockSize = 512 }: MemoryNamespace): Namespace {
    const file = this.#env.files.memory(bytes(memory));
    return this.#target.addNamespace(this.#subsystem, file, { nsid, uuid, blockSize, readOnly: false });
  }
}

const numbers = (wanted: readonly (number | undefined)[]): number[] =>
  wanted.filter((nsid) => nsid !== undefined);

const identityOf = ({ fileId, born }: FileIdentity): { fileId: string; born?: string } =>
  born === undefined ? { fileId } : { fileId, born };

function withEntry(document: TargetDocument, entry: NamespaceEntry): TargetDocument {
  const others = document.namespaces.filter(({ nsid }) => nsid !== entry.nsid);
  return { ...document, namespaces: [...others, entry].sort((a, b) => a.nsid - b.nsid) };
}

function bytes(size: number | string): number {
  return typeof size === 'number' ? size : (parseSize(size) ?? NaN);
}

/** What can be wrong with a request whatever the disk says. */
function check(request: NamespaceRequest): void {
  const { blockSize = 512, nsid, uuid } = request;
  const name = 'file' in request ? request.file : 'memory';
  if (name === '') throw refusal('EINVAL', 'the path of a file is empty');
  if (!BLOCK_SIZES.includes(blockSize))
    throw refusal('EINVAL', `${name}: blocks have 512 or 4096 bytes, not ${blockSize}`);
  const size = 'file' in request ? request.size : request.memory;
  if (size !== undefined) {
    const count = bytes(size);
    if (!Number.isSafeInteger(count) || count <= 0)
      throw refusal('EINVAL', `${name}: ${JSON.stringify(size)} is not a size; 1G, 512M and 1073741824 are`);
    if (count % blockSize !== 0)
      throw refusal(
        'EINVAL',
        `${name}: ${formatSize(count)} is not a whole number of ${blockSize}-byte blocks`,
      );
  }
  if (nsid !== undefined && !(Number.isInteger(nsid) && nsid >= 1))
    throw refusal('EINVAL', `${name}: ${nsid} is not an NSID`);
  const problem = uuid === undefined ? undefined : uuidProblem(uuid);
  if (problem !== undefined) throw refusal('EINVAL', `${name}: the UUID ${problem}`);
}
