/**
 * Requests become entries of the document. A file that is known keeps its identity, wherever it is now; another file
 * under a known name is not taken for it. What the disk says of the files comes in as data.
 */
import { subsystemOf, addNamespace, changeNamespace, freeNsid } from './edit.ts';
import {
  type FileEntry,
  type NamespaceEntry,
  type SubsystemEntry,
  type TargetDocument,
  dropped,
  isFile,
} from './document.ts';
import { type FileIdentity, isSameFile, withIdentity } from './file-identity.ts';
import { ConfigError } from './problem.ts';
import { type FileNamespace, type NamespaceRequest, bytesOf, checkRequest } from './request.ts';
import { eui64Digits, nguidDigits } from './checks.ts';

export interface ExportFacts {
  /** What is at an absolute path; undefined: nothing. */
  readonly seen: ReadonlyMap<string, FileIdentity | undefined>;
  /** The absolute path of what a request names. */
  readonly resolve: (path: string) => string;
  readonly newUuid: () => string;
  /** The highest NSID that the target has room for. */
  readonly lastNsid: number;
  /** Where the document is, for messages. */
  readonly place: string;
  /** Memory namespaces are kept: a configuration file gives them their name. */
  readonly keepMemory?: boolean;
}

export interface Exported {
  readonly document: TargetDocument;
  /** Of each request, in their order. */
  readonly nsids: ReadonlyMap<NamespaceRequest, number>;
  /** Files to be made, with their sizes. */
  readonly make: ReadonlyMap<string, number>;
}

/** Throws a ConfigError with the code ENOENT, EEXIST, EINVAL or ESTALE. */
export function exportNamespaces(
  document: TargetDocument,
  nqn: string,
  requests: readonly NamespaceRequest[],
  facts: ExportFacts,
): Exported {
  for (const request of requests) checkRequest(request);
  const nsids = new Map<NamespaceRequest, number>();
  const make = new Map<string, number>();
  const files = distinct(requests, facts);
  const wanted = requests.flatMap(({ nsid }) => nsid ?? []);
  let next = document;
  for (const [request, path] of files) {
    const identity = facts.seen.get(path);
    const known = knownEntry(next, path, identity, facts);
    if (known) {
      if (known.nqn !== nqn)
        throw new ConfigError(`${path} is namespace ${known.entry.nsid} of ${known.nqn}`, { code: 'EEXIST' });
      checkSame(known.entry, request, facts);
      next = changeNamespace(nqn, known.entry.nsid, () => awake(known.entry, path, identity))(next);
      nsids.set(request, known.entry.nsid);
      continue;
    }
    if (identity === undefined && request.size !== undefined) make.set(path, bytesOf(request.size));
    const file = identity === undefined ? { path } : withIdentity({ path } as FileEntry, identity);
    const entry: NamespaceEntry = {
      ...file,
      ...common(next, nqn, request, wanted, facts),
      readOnly: request.readOnly ?? false,
    };
    next = addNamespace(nqn, entry)(next);
    nsids.set(request, entry.nsid);
  }
  // Namespaces in memory get what no file has.
  for (const request of requests) {
    if ('file' in request) continue;
    const entry: NamespaceEntry = {
      ...common(next, nqn, request, wanted, facts),
      readOnly: false,
      memory: bytesOf(request.memory),
      ...(facts.keepMemory ? {} : { volatile: true }),
    };
    next = addNamespace(nqn, entry)(next);
    nsids.set(request, entry.nsid);
  }
  return { document: next, nsids, make };
}

/** The files that are asked for, each once. */
function distinct(
  requests: readonly NamespaceRequest[],
  { seen, resolve }: ExportFacts,
): Map<FileNamespace, string> {
  const before = new Map<string, string>();
  const files = new Map<FileNamespace, string>();
  for (const request of requests) {
    if (!('file' in request)) continue;
    const path = resolve(request.file);
    const id = seen.get(path)?.fileId ?? path;
    const other = before.get(id);
    if (other === path) throw new ConfigError(`${path} is given twice`, { code: 'EEXIST' });
    if (other !== undefined)
      throw new ConfigError(`${path} is the same file as ${other}`, { code: 'EEXIST' });
    before.set(id, path);
    files.set(request, path);
  }
  return files;
}

interface Known {
  readonly nqn: string;
  readonly entry: FileEntry;
}

function knownEntry(
  document: TargetDocument,
  path: string,
  identity: FileIdentity | undefined,
  facts: ExportFacts,
): Known | undefined {
  const all = document.subsystems.flatMap(({ nqn, namespaces }) =>
    namespaces.flatMap((entry): Known[] => (isFile(entry) ? [{ nqn, entry }] : [])),
  );
  const same = identity && all.find(({ entry }) => isSameFile(entry, identity));
  const there = all.find(({ entry }) => entry.path === path);
  if (same !== undefined || there === undefined) return same;
  const { entry } = there;
  if (identity === undefined) {
    const what = `${path} is namespace ${entry.nsid} of this target, and is missing`;
    throw new ConfigError(`${what}: put it back, or delete its entry in ${facts.place}`, { code: 'ENOENT' });
  }
  // It was never opened, or its identity was taken away by hand: whatever is there now is it.
  if (entry.fileId === undefined) return there;
  throw anotherFile(entry, identity, facts.place);
}

export function anotherFile(entry: FileEntry, { fileId }: FileIdentity, place: string): ConfigError {
  return new ConfigError(
    `${entry.path} is another file than the one that is namespace ${entry.nsid} ` +
      `(${entry.fileId ?? ''}${entry.fileId === fileId ? ', made anew' : `, now ${fileId}`}). ` +
      `If it is that disk, restored from a copy: set its "fileId" to "${fileId}" and remove its "born" in ` +
      `${place}; if it is a new disk: delete its entry there`,
    { code: 'ESTALE' },
  );
}

/** What hosts have seen of a disk does not change by the way. */
function checkSame(known: FileEntry, request: FileNamespace, { place }: ExportFacts): void {
  for (const key of [
    'blockSize',
    'readOnly',
    'nsid',
    'uuid',
    'nguid',
    'eui64',
    'anagrpid',
    'shared',
  ] as const) {
    const wanted = request[key];
    if (wanted === undefined || wanted === known[key]) continue;
    const what = `${known.path} is namespace ${known.nsid} with ${key} ${String(known[key])}, not ${wanted}`;
    throw new ConfigError(`${what}; to change it, edit ${place}`);
  }
}

function awake(entry: FileEntry, path: string, identity: FileIdentity | undefined): FileEntry {
  const moved = { ...dropped(entry, 'dormant'), path };
  return identity === undefined ? moved : withIdentity(moved, identity);
}

function common(
  document: TargetDocument,
  nqn: string,
  request: NamespaceRequest,
  wanted: readonly number[],
  { newUuid, lastNsid }: ExportFacts,
) {
  const subsystem = subsystemOf(document, nqn);
  const nsid = request.nsid ?? freeNsid(subsystem, wanted);
  if (nsid > lastNsid) throw new ConfigError(`namespace ${nsid}: NSIDs go up to ${lastNsid}`);
  const { blockSize = 512, anagrpid = 1, shared = true, hosts, nguid, eui64 } = request;
  return {
    nsid,
    uuid: freeUuid(document, request.uuid?.toLowerCase() ?? newUuid()),
    ...(nguid === undefined ? {} : { nguid: nguidDigits(nguid) }),
    ...(eui64 === undefined ? {} : { eui64: eui64Digits(eui64) }),
    blockSize,
    anagrpid,
    enabled: true,
    shared,
    ...(hosts && { hosts: [...new Set(hosts)] }),
  };
}

function freeUuid({ subsystems }: TargetDocument, uuid: string): string {
  const taken = (subsystem: SubsystemEntry): boolean =>
    subsystem.namespaces.some((entry) => entry.uuid === uuid);
  if (subsystems.some(taken)) throw new ConfigError(`the UUID ${uuid} is taken`, { code: 'EEXIST' });
  return uuid;
}
